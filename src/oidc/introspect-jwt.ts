import type { KoaContextWithOIDC } from 'oidc-provider';
import { failClosed } from './faults.ts';
import { GRANT_ID_CLAIM, REVISION_CLAIM } from './jwt-access-token.ts';
import { isRefusedJwt } from './jwt-refusal.ts';
import type { LivingJwtReader } from './living-jwt.ts';
import type { IntrospectedToken } from './policies.ts';

type Introspection = {
  read: LivingJwtReader;
  mayIntrospect(callerId: string, token: IntrospectedToken): Promise<boolean>;
};

const INACTIVE = { active: false };

/**
 * Answers what the library refuses: a token in JWT format at /introspect (RFC 7662). What is no token of ours is inactive
 * and not an error (section 2.2).
 */
export function introspectJwt(introspection: Introspection) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next();
    if (!isRefusedJwt(context, 'introspection')) return;
    const { client, params } = context.oidc;
    context.status = 200;
    context.type = 'json';
    context.body =
      client === undefined ? INACTIVE : await introspect(introspection, client.clientId, String(params?.token));
  };
}

async function introspect({ read, mayIntrospect }: Introspection, callerId: string, token: string) {
  const living = await failClosed(() => read(token));
  if (living === undefined) return INACTIVE;
  const { claims, accountId } = living;
  const audience = typeof claims.aud === 'string' ? claims.aud : undefined;
  if (!(await mayIntrospect(callerId, { clientId: claims.client_id, accountId, audience }))) return INACTIVE;
  const { [GRANT_ID_CLAIM]: _grantId, [REVISION_CLAIM]: _revision, ...shown } = claims;
  return { ...shown, active: true, token_type: claims.cnf?.jkt === undefined ? 'Bearer' : 'DPoP' };
}
