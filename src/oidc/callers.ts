import type { Accounts } from '../accounts/index.ts';
import {
  type ApiKey,
  type ApiKeyOwner,
  type ApiKeys,
  effectiveApis,
  effectiveScopes,
  isLive,
  parseApiKeyClientId,
  toApiKeyClientId,
} from '../api-keys/index.ts';
import {
  type Api,
  type Apis,
  type ClientLookUp,
  type ClientMetadata,
  type Clients,
  type RegisteredClient,
  scopesIn,
} from '../clients/index.ts';
import type { Clock } from '../config/index.ts';

/** Whoever may authenticate here: registered clients, and API keys as clients of their own, with their owner's rights at the most. */
export type Callers = Pick<Clients, 'find' | 'verifySecret'> &
  Readonly<{
    /** The key that a caller is made of; `undefined` for a registered client. */
    apiKeyOf(caller: RegisteredClient): ApiKey | undefined;
  }>;

export type CallerSources = Readonly<{
  clients: Pick<Clients, 'find' | 'verifySecret'>;
  accounts: Pick<Accounts, 'find'>;
  apis: Pick<Apis, 'all'>;
  apiKeys: Pick<ApiKeys, 'find' | 'verify'>;
  clock: Clock;
}>;

/** A key as a client, and what it was made from; `caller` is absent where nothing is left that the key may call. */
type KeyCaller = Readonly<{ owner: RegisteredClient | undefined; apis: readonly Api[]; caller?: RegisteredClient }>;

/**
 * One view of registered clients and API keys. A key is there while it is live, and its owner is there and enabled; its
 * scopes and APIs are those that both have at this moment. It is the same object until one of them changes, so that
 * whoever makes something of it may keep that.
 */
export function createCallers(sources: CallerSources): Callers {
  const { clients, accounts, apis, apiKeys, clock } = sources;
  const callers = new WeakMap<ApiKey, KeyCaller>();
  const keys = new WeakMap<RegisteredClient, ApiKey>();

  async function findKeyCaller(id: string): Promise<RegisteredClient | undefined> {
    const apiKey = await apiKeys.find(id);
    if (apiKey === undefined || !isLive(apiKey, clock())) return undefined;
    const { owner } = apiKey;
    const client = owner.kind === 'client' ? await clients.find(owner.clientId) : undefined;
    if (owner.kind === 'account') {
      const account = await accounts.find(owner.accountId);
      if (account === undefined || account.isDisabled) return undefined;
    } else if (!client?.metadata.grant_types.includes('client_credentials')) return undefined;
    const all = apis.all();
    const kept = callers.get(apiKey);
    if (kept?.owner === client && kept?.apis === all) return kept.caller;
    const caller = toCaller(apiKey, client, all);
    callers.set(apiKey, { owner: client, apis: all, ...(caller && { caller }) });
    if (caller !== undefined) keys.set(caller, apiKey);
    return caller;
  }

  return Object.freeze({
    async find(id: string, lookUp?: ClientLookUp) {
      const keyId = parseApiKeyClientId(id);
      return keyId === undefined ? clients.find(id, lookUp) : findKeyCaller(keyId);
    },
    async verifySecret(id: string, presented: string) {
      const keyId = parseApiKeyClientId(id);
      return keyId === undefined ? clients.verifySecret(id, presented) : apiKeys.verify(keyId, presented);
    },
    apiKeyOf: (caller: RegisteredClient) => keys.get(caller),
  });
}

/** The account or the client that a key belongs to; it is what tokens got with the key are about. */
export function ownerIdOf(owner: ApiKeyOwner): string {
  return owner.kind === 'account' ? owner.accountId : owner.clientId;
}

/** @param owner the client that owns the key; `undefined`: an account, which may call what there is */
function toCaller(
  apiKey: ApiKey,
  owner: RegisteredClient | undefined,
  all: readonly Api[],
): RegisteredClient | undefined {
  const named = effectiveApis(apiKey, owner?.apis ?? []);
  const callable = all.filter(({ identifier }) => named.includes(identifier));
  // A client without a list may call any API: a key that has lost all of its own may call none.
  if (callable.length === 0) return undefined;
  const owned = callable.flatMap(({ scopes }) => scopes.map(({ scope }) => scope));
  const registered = owner === undefined ? owned : scopesIn(owner.metadata.scope);
  const scopes = effectiveScopes(
    apiKey,
    registered.filter((scope) => owned.includes(scope)),
  );
  const id = toApiKeyClientId(apiKey.id);
  return Object.freeze({
    id,
    metadata: {
      ...(owner && inherited(owner.metadata)),
      client_id: id,
      client_name: apiKey.name,
      redirect_uris: [],
      grant_types: ['client_credentials'],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_basic' as const,
      ...(scopes.length === 0 ? undefined : { scope: scopes.join(' ') }),
    },
    apis: callable.map(({ identifier }) => identifier),
    apiScopes: owner?.apiScopes ?? {},
    // A key carries scopes alone.
    roles: [],
    mayIntrospectAny: false,
    allowedOrigins: [],
    isDemo: false,
    origin: 'operator',
    hasSecret: true,
    createdAt: apiKey.createdAt,
    updatedAt: apiKey.updatedAt,
  });
}

/** How long tokens live and what they are bound to: a key is no way around what its owner was given. */
function inherited({
  access_token_ttl_seconds: seconds,
  dpop_bound_access_tokens: proof,
  tls_client_certificate_bound_access_tokens: certificate,
}: ClientMetadata): Partial<ClientMetadata> {
  return {
    ...(seconds !== undefined && { access_token_ttl_seconds: seconds }),
    ...(proof !== undefined && { dpop_bound_access_tokens: proof }),
    ...(certificate !== undefined && { tls_client_certificate_bound_access_tokens: certificate }),
  };
}
