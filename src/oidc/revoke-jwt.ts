import { errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import { type Audit, auditContextOf } from '../audit/index.ts';
import type { ArtifactStore, Revocations } from '../tokens/index.ts';
import { failClosed } from './faults.ts';
import { isRefusedJwt } from './jwt-refusal.ts';
import type { LivingJwt, LivingJwtReader } from './living-jwt.ts';
import { mayRevoke } from './policies.ts';

type Revocation = {
  read: LivingJwtReader;
  audit: Pick<Audit, 'record'>;
  artifacts: Pick<ArtifactStore, 'revokeAll'>;
  revocations: Pick<Revocations, 'revokeToken'>;
};

/**
 * Does what the library refuses: revokes a token in JWT format at /revoke (RFC 7009), with the reach that an opaque one
 * has: a person's takes its grant along, and all that hangs on it. An answer of 200 means that it is durable. Where there
 * is nothing to revoke, because it is no token of ours or dead already, the answer is 200 too (section 2.2).
 */
export function revokeJwt(provider: Provider, revocation: Revocation) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next();
    if (!isRefusedJwt(context, 'revocation')) return;
    const { client, params } = context.oidc;
    const living = client && (await failClosed(() => revocation.read(String(params?.token))));
    if (client !== undefined && living !== undefined) {
      try {
        mayRevoke(client, { clientId: living.claims.client_id });
      } catch (error) {
        if (!(error instanceof errors.OIDCProviderError)) throw error;
        context.type = 'json';
        context.body = { error: error.error, error_description: error.error_description };
        return;
      }
      await failClosed(() => revoke(provider, revocation, context, living));
    }
    context.status = 200;
    context.remove('Content-Type');
    context.body = '';
  };
}

/** Recorded first: what can't be recorded doesn't happen, and what is recorded and then fails can be done again. */
async function revoke(
  provider: Provider,
  { audit, artifacts, revocations }: Revocation,
  context: KoaContextWithOIDC,
  { claims, grantId, accountId }: LivingJwt,
): Promise<void> {
  const parties = { clientId: claims.client_id, ...(grantId && { grantId }), ...(accountId && { accountId }) };
  const kind = grantId === undefined ? 'client_credentials' : 'access';
  await audit.record({ type: 'token.revoked', kind, ...parties }, auditContextOf(context));
  // Before the token itself: once that is dead, nobody could ask again for what failed.
  if (grantId !== undefined) await artifacts.revokeAll({ grantId });
  await revocations.revokeToken(claims.jti, claims.exp);
  if (grantId !== undefined) provider.emit('grant.revoked', context, grantId);
}
