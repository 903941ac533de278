import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { type AccessTokenClaims, GRANT_ID_CLAIM, type JwtVerifier } from './jwt-access-token.ts';
import type { IntrospectedToken } from './policies.ts';

type Introspection = {
  verify: JwtVerifier;
  mayIntrospect(callerId: string, token: IntrospectedToken): Promise<boolean>;
};

const INACTIVE = { active: false };

/**
 * Answers what the library refuses: a token in JWT format at /introspect (RFC 7662). It acts on that one refusal alone,
 * which comes after the caller's authentication; what is no token of ours is inactive and not an error (section 2.2).
 */
export function introspectJwt(provider: Provider, introspection: Introspection) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next();
    if (context.oidc?.route !== 'introspection' || context.status !== 400) return;
    if ((context.body as { error?: string }).error !== 'unsupported_token_type') return;
    const { client, params } = context.oidc;
    context.status = 200;
    context.type = 'json';
    context.body =
      client === undefined
        ? INACTIVE
        : await introspect(provider, introspection, client.clientId, String(params?.token));
  };
}

async function introspect(
  provider: Provider,
  { verify, mayIntrospect }: Introspection,
  callerId: string,
  token: string,
) {
  const claims = await verify(token);
  if (claims === undefined) return INACTIVE;
  const accountId = await liveAccountId(provider, claims);
  if (accountId === false) return INACTIVE;
  const audience = typeof claims.aud === 'string' ? claims.aud : undefined;
  if (!(await mayIntrospect(callerId, { clientId: claims.client_id, accountId, audience }))) return INACTIVE;
  const { [GRANT_ID_CLAIM]: _grantId, ...shown } = claims;
  return { ...shown, active: true, token_type: claims.cnf?.jkt === undefined ? 'Bearer' : 'DPoP' };
}

/** The account behind a person's token; undefined for a token of a client itself; false where the grant has ended. */
async function liveAccountId(provider: Provider, claims: AccessTokenClaims): Promise<string | undefined | false> {
  const grantId = claims[GRANT_ID_CLAIM];
  if (grantId === undefined) return undefined;
  const grant = await provider.Grant.find(grantId);
  return grant !== undefined && grant.clientId === claims.client_id && grant.accountId !== undefined
    ? grant.accountId
    : false;
}
