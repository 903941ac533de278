import type { KoaContextWithOIDC } from 'oidc-provider';
import { failClosed } from './faults.ts';
import { GRANT_ID_CLAIM, REVISION_CLAIM } from './jwt-access-token.ts';
import { isRefusedJwt } from './jwt-refusal.ts';
import type { LivingJwtReader } from './living-jwt.ts';
import type { IntrospectedToken } from './policies.ts';
import { LINKS_CLAIM } from './token-exchange-links.ts';
import type { RoleSubject } from './token-roles.ts';

type Introspection = {
  read: LivingJwtReader;
  mayIntrospect(callerId: string, token: IntrospectedToken): Promise<boolean>;
  /** Of whom the token speaks for, as they are now. */
  rolesOf(subject: RoleSubject): Promise<readonly string[]>;
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

async function introspect({ read, mayIntrospect, rolesOf }: Introspection, callerId: string, token: string) {
  const living = await failClosed(() => read(token));
  if (living === undefined) return INACTIVE;
  const { claims, accountId } = living;
  const audience = typeof claims.aud === 'string' ? claims.aud : undefined;
  if (!(await mayIntrospect(callerId, { clientId: claims.client_id, accountId, audience, scope: claims.scope })))
    return INACTIVE;
  const {
    [GRANT_ID_CLAIM]: _grantId,
    [REVISION_CLAIM]: _revision,
    [LINKS_CLAIM]: links,
    roles: _roles,
    ...shown
  } = claims;
  const isExchanged = links !== undefined;
  const roles = await rolesOf({ accountId, clientId: claims.client_id, isExchanged });
  return {
    ...shown,
    ...(roles.length > 0 && { roles }),
    active: true,
    token_type: claims.cnf?.jkt === undefined ? 'Bearer' : 'DPoP',
  };
}
