import { errors, type KoaContextWithOIDC, type Provider } from 'oidc-provider';
import { type Audit, auditContextOf } from '../audit/index.ts';
import type { ArtifactStore, Revocations } from '../tokens/index.ts';
import { endByValue, foundJwt } from './end-by-value.ts';
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

async function revoke(
  provider: Provider,
  { audit, artifacts, revocations }: Revocation,
  context: KoaContextWithOIDC,
  living: LivingJwt,
): Promise<void> {
  await endByValue(foundJwt(living, revocations), {
    audit,
    by: auditContextOf(context),
    endGrant: (grantId) => artifacts.revokeAll({ grantId }),
  });
  if (living.grantId !== undefined) provider.emit('grant.revoked', context, living.grantId);
}
