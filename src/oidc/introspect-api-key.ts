import { isIP } from 'node:net';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { type ApiKey, type ApiKeys, parseApiKey, type QuotaState, toApiKeyClientId } from '../api-keys/index.ts';
import { type Apis, authenticates, type RegisteredClient } from '../clients/index.ts';
import { type Callers, ownerIdOf } from './callers.ts';
import { failClosed } from './faults.ts';
import { ownsKey } from './policies.ts';
import { scopesCallable } from './resources.ts';

export type KeySources = {
  callers: Callers;
  apis: Apis;
  apiKeys: Pick<ApiKeys, 'verify' | 'allow'>;
};

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
  const { holder, apiKey, apis: known, scopes } = found;
  const [api, ...others] = known;
  const verdict = apiKeys.allow(apiKey, {
    api: others.length === 0 ? api : undefined,
    // A key that asks about itself is where the request comes from.
    address: namedAddress(context) ?? (callerId === holder.id ? context.ip : undefined),
  });
  if (!verdict.ok) return { ...INACTIVE, reason: verdict.reason };
  return {
    active: true,
    token_type: 'api_key',
    key_id: holder.id,
    client_id: holder.id,
    sub: ownerIdOf(apiKey.owner),
    ...(scopes.length === 0 ? undefined : { scope: scopes.join(' ') }),
    aud: others.length === 0 ? api : known,
    iss: issuer,
    iat: seconds(apiKey.createdAt),
    ...(apiKey.expiresAt === undefined ? undefined : { exp: seconds(apiKey.expiresAt) }),
    ...(verdict.quota && { quota: describe(verdict.quota) }),
  };
}

/** What a caller may know of a living key. */
type KnownKey = {
  /** The key as a client. */
  holder: RegisteredClient;
  apiKey: ApiKey;
  /** Those of its APIs that the caller may know of: at least one. */
  apis: readonly string[];
  /** What the key is worth there. */
  scopes: readonly string[];
};

/** @returns undefined where the key is wrong, dead or none of the caller's business, after the same work for each */
export async function findKnownKey(
  { callers, apis, apiKeys }: KeySources,
  callerId: string,
  { id, secret }: { id: string; secret: string },
): Promise<KnownKey | undefined> {
  const isRight = await apiKeys.verify(id, secret);
  const [caller, holder] = await Promise.all([callers.find(callerId), callers.find(toApiKeyClientId(id))]);
  const apiKey = holder && callers.apiKeyOf(holder);
  if (!isRight || caller === undefined || holder === undefined || apiKey === undefined) return undefined;
  const known = apisKnownTo(caller, holder, apiKey, apis);
  const scopes = new Set(known.flatMap((each) => scopesCallable(holder, apis, each)));
  return known.length === 0 ? undefined : { holder, apiKey, apis: known, scopes: [...scopes] };
}

/**
 * The key itself, its owner and who may introspect all know what it is worth at each of its APIs; who introspects for some of
 * these, what it is worth there; anybody else, nothing.
 */
function apisKnownTo(
  caller: RegisteredClient,
  holder: RegisteredClient,
  apiKey: ApiKey,
  apis: Apis,
): readonly string[] {
  if (caller.id === holder.id) return holder.apis;
  if (!authenticates(caller.metadata)) return [];
  if (caller.mayIntrospectAny || ownsKey(caller, apiKey)) return holder.apis;
  const guarded = apis.all().filter(({ introspectionClientIds }) => introspectionClientIds.includes(caller.id));
  return guarded.map(({ identifier }) => identifier).filter((api) => holder.apis.includes(api));
}

function describe({ requests, windowSeconds, remaining, resetSeconds }: QuotaState) {
  return { limit: requests, window_seconds: windowSeconds, remaining, reset_seconds: resetSeconds };
}

/** Where the caller says that a token or key was sent from. */
export function namedAddress({ oidc }: KoaContextWithOIDC): string | undefined {
  const address = oidc.body?.ip_address;
  // A zone (RFC 4007, section 11) means nothing to another host, and may be of any length.
  return typeof address === 'string' && isIP(address) !== 0 && !address.includes('%') ? address : undefined;
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1_000);
}
