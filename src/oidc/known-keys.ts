import { isIP } from 'node:net';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { type ApiKey, type ApiKeys, toApiKeyClientId } from '../api-keys/index.ts';
import type { Apis, RegisteredClient } from '../clients/index.ts';
import type { Callers } from './callers.ts';
import { epochSeconds } from './epoch-seconds.ts';
import { mayKnow } from './policies.ts';
import { scopesCallable } from './resources.ts';

export type KeySources = {
  clients: Callers;
  apis: Apis;
  apiKeys: Pick<ApiKeys, 'verify' | 'allow'>;
};

/** What a caller may know of a living key that it was sent. */
type KnownKey = Readonly<{
  /** The key as a client. */
  holder: RegisteredClient;
  apiKey: ApiKey;
  /** Those of its APIs that the caller may know of: at least one. */
  apis: readonly string[];
  /** The one of these, where it is one. */
  onlyApi: string | undefined;
  /** What the key is worth there. */
  scopes: readonly string[];
  /** Epoch seconds, like `expiresAt`; a key that lives until it is revoked has none of the latter. */
  createdAt: number;
  expiresAt?: number | undefined;
}>;

/**
 * Looks for an API key that a caller presents as somebody's, and tells what the key is worth as far as the caller may know.
 *
 * @returns undefined where the key is wrong, dead or none of the caller's business, after the same work for each
 * @throws the database's own error
 */
export async function findKnownKey(
  { clients, apis, apiKeys }: KeySources,
  callerId: string,
  { id, secret }: { id: string; secret: string },
): Promise<KnownKey | undefined> {
  const isRight = await apiKeys.verify(id, secret);
  const [caller, holder] = await Promise.all([clients.find(callerId), clients.find(toApiKeyClientId(id))]);
  const apiKey = holder && clients.apiKeyOf(holder);
  if (!isRight || caller === undefined || holder === undefined || apiKey === undefined) return undefined;
  const all = apis.all();
  const last = latest.get(holder);
  if (last?.caller === caller && last.apis === all) return last.known;
  const known = describe(caller, holder, apiKey, apis);
  latest.set(holder, { caller, apis: all, known });
  return known;
}

/**
 * What the last caller was told of a key: one API asks of a key again and again. Clients, keys and the list of APIs are
 * other objects as soon as anything about them changes.
 */
const latest = new WeakMap<
  RegisteredClient,
  { caller: RegisteredClient; apis: ReturnType<Apis['all']>; known: KnownKey | undefined }
>();

function describe(
  caller: RegisteredClient,
  holder: RegisteredClient,
  apiKey: ApiKey,
  apis: Apis,
): KnownKey | undefined {
  const known = apisKnownTo(caller, holder, apiKey, apis);
  const [api, ...others] = known;
  if (api === undefined) return undefined;
  return {
    holder,
    apiKey,
    apis: known,
    onlyApi: others.length === 0 ? api : undefined,
    scopes: [...new Set(known.flatMap((each) => scopesCallable(holder, apis, each)))],
    createdAt: epochSeconds(apiKey.createdAt),
    expiresAt: apiKey.expiresAt && epochSeconds(apiKey.expiresAt),
  };
}

function apisKnownTo(caller: RegisteredClient, holder: RegisteredClient, apiKey: ApiKey, apis: Apis): string[] {
  const known = apis
    .all()
    .filter((api) => holder.apis.includes(api.identifier) && mayKnow(caller, holder, apiKey, api));
  return known.map(({ identifier }) => identifier);
}

/** Where the caller says that a token or key was sent from. */
export function namedAddress({ oidc }: KoaContextWithOIDC): string | undefined {
  const address = oidc.body?.ip_address;
  // A zone (RFC 4007, section 11) means nothing to another host, and may be of any length.
  return typeof address === 'string' && isIP(address) !== 0 && !address.includes('%') ? address : undefined;
}
