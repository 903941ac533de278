import type { KoaContextWithOIDC } from 'oidc-provider';
import { parseApiKey, type QuotaState } from '../api-keys/index.ts';
import { noteRefusedUse } from './api-key-grant.ts';
import { ownerIdOf } from './callers.ts';
import { failClosed } from './faults.ts';
import { findKnownKey, type KeySources, namedAddress } from './known-keys.ts';

type Sources = KeySources & { issuer: string };

const INACTIVE = { active: false };

/**
 * Answers for an API key at /introspect (RFC 7662), which the library takes for an unknown token: only there, once it has
 * authenticated the caller. Every active answer is one use of the key. Its limits are told to who may know it at all, by a
 * `reason`; what is malformed, unknown, revoked or none of the caller's business is inactive and no more.
 *
 * The resource server may say with `ip_address` where the key was sent from (section 2.1 allows further parameters). It
 * has to for a key with an allow-list: nobody else knows.
 */
export function introspectApiKey(sources: Sources) {
  return async (context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> => {
    await next();
    if (context.oidc?.route !== 'introspection' || context.status !== 200) return;
    const { client, params } = context.oidc;
    const presented = parseApiKey(String(params?.token));
    if (client === undefined || presented === undefined) return;
    context.body = await failClosed(() => introspect(sources, client.clientId, presented, context));
  };
}

async function introspect(
  sources: Sources,
  callerId: string,
  presented: { id: string; secret: string },
  context: KoaContextWithOIDC,
) {
  const { issuer, apiKeys } = sources;
  const found = await findKnownKey(sources, callerId, presented);
  if (found === undefined) return INACTIVE;
  const { holder, apiKey, apis, onlyApi, scopes, createdAt, expiresAt } = found;
  const verdict = apiKeys.allow(apiKey, {
    api: onlyApi,
    // A key that asks about itself is where the request comes from, whatever it says.
    address: callerId === holder.id ? context.ip : namedAddress(context),
  });
  noteRefusedUse(context, apiKey, verdict);
  if (!verdict.ok) return { ...INACTIVE, reason: verdict.reason };
  return {
    active: true,
    token_type: 'api_key',
    key_id: holder.id,
    client_id: holder.id,
    sub: ownerIdOf(apiKey.owner),
    ...(scopes.length === 0 ? undefined : { scope: scopes.join(' ') }),
    aud: onlyApi ?? apis,
    iss: issuer,
    iat: createdAt,
    ...(expiresAt === undefined ? undefined : { exp: expiresAt }),
    ...(verdict.quota && { quota: describe(verdict.quota) }),
  };
}

function describe({ requests, windowSeconds, remaining, resetSeconds }: QuotaState) {
  return { limit: requests, window_seconds: windowSeconds, remaining, reset_seconds: resetSeconds };
}
