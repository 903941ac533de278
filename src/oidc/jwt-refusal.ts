import type { errors, KoaContextWithOIDC, Provider } from 'oidc-provider';

const refused = new WeakSet<object>();

/** Notes where the library refuses a token for being a JWT, in whatever form it then answers. */
export function noteJwtRefusals(provider: Provider): void {
  const note = (context: KoaContextWithOIDC, { error }: errors.OIDCProviderError) => {
    if (error === 'unsupported_token_type') refused.add(context.req);
  };
  provider.on('introspection.error', note);
  provider.on('revocation.error', note);
}

/**
 * Whether the library has refused a token for being a JWT. It does so after it has authenticated the caller, so that this
 * one refusal may be answered in its place; `oidc.client` alone says nothing, for it is there also where the
 * authentication has failed.
 */
export function isRefusedJwt(context: KoaContextWithOIDC, route: 'introspection' | 'revocation'): boolean {
  return context.oidc?.route === route && context.status === 400 && refused.has(context.req);
}
