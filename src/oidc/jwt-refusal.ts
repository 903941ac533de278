import type { KoaContextWithOIDC } from 'oidc-provider';

/**
 * Whether the library has refused a token for being a JWT. It does so after it has authenticated the caller, so that this
 * one refusal may be answered in its place; `oidc.client` alone says nothing, for it is there also where the
 * authentication has failed.
 */
export function isRefusedJwt(context: KoaContextWithOIDC, route: 'introspection' | 'revocation'): boolean {
  if (context.oidc?.route !== route || context.status !== 400) return false;
  const { error } = (context.body ?? {}) as { error?: unknown };
  return error === 'unsupported_token_type';
}
