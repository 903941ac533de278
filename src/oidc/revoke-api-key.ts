import type { KoaContextWithOIDC } from 'oidc-provider';
import { type ApiKeys, parseApiKey, toApiKeyClientId } from '../api-keys/index.ts';
import { auditContextOf } from '../audit/index.ts';
import { failClosed } from './faults.ts';
import { ownsKey, refusedRevocation } from './policies.ts';

/**
 * Revokes an API key at /revoke (RFC 7009), for the key itself and for the client that owns it. An answer of 200 means that
 * it is durable; the tokens got with the key are dead with it, because who has got them is no longer there. The library
 * has authenticated the caller and found no such token; where there is nothing to revoke, its 200 stands (section 2.2).
 */
export function revokeApiKey({ apiKeys }: { apiKeys: Pick<ApiKeys, 'find' | 'verify' | 'revoke'> }) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next();
    if (context.oidc?.route !== 'revocation' || context.status !== 200) return;
    const { client, params } = context.oidc;
    const presented = parseApiKey(String(params?.token));
    if (client === undefined || presented === undefined) return;
    const { id, secret } = presented;
    const isRight = await failClosed(() => apiKeys.verify(id, secret));
    const apiKey = isRight ? await failClosed(() => apiKeys.find(id)) : undefined;
    if (apiKey === undefined || apiKey.revokedAt !== undefined) return;
    const callerId = client.clientId;
    if (!ownsKey({ id: callerId }, apiKey) && callerId !== toApiKeyClientId(id)) return refuse(context);
    const by = { ...auditContextOf(context), actor: { kind: 'client', id: callerId } as const };
    await failClosed(() => apiKeys.revoke(id, by));
  };
}

/** As for any token of somebody else's. */
function refuse(context: KoaContextWithOIDC): void {
  const { error, error_description } = refusedRevocation();
  context.status = 400;
  context.type = 'json';
  context.body = { error, error_description };
}
