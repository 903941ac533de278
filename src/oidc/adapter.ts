import { type Adapter, type AdapterFactory, type AdapterPayload, errors, Provider } from 'oidc-provider';
import { isShapedAsApiKey } from '../api-keys/index.ts';
import type { Audit } from '../audit/index.ts';
import {
  type Apis,
  type Clients,
  detailsTypeOf,
  isOpenIdScope,
  type RegisteredClient,
  type RegistrationTokens,
  scopesIn,
} from '../clients/index.ts';
import type { DeviceLimits } from '../limits/index.ts';
import type { ArtifactKind, ArtifactPayload, ArtifactStore } from '../tokens/index.ts';
import { lookUpOfRequest } from './client-look-up.ts';
import { deviceCodeAdapter } from './device-codes.ts';
import { endGrant, endGrantForReuse, endsWithGrant } from './end-grant.ts';
import { epochSeconds } from './epoch-seconds.ts';
import { failClosed } from './faults.ts';
import { toProviderMetadata } from './provider-client.ts';
import { rotatingAdapter } from './refresh-rotation.ts';
import type { Registration } from './registration.ts';

/**
 * Until the library saves a replay entry with its true expiry, right after asking for it: long enough for any assertion
 * whose saving was cut off, and longer than the clock tolerance.
 */
const REPLAY_PROVISIONAL_SECONDS = 600;

/**
 * What the library stores goes to the artifact store; what it asks of clients to the registry, which a client that registers
 * itself is also written to.
 *
 * @param stores.config how long a rotated refresh token may be used again
 * @param stores.artifactAdapter where given, stands in the artifact store's place
 */
export function createAdapterFactory(stores: {
  config: { lifetimes: { refreshLeewaySeconds: number } };
  artifacts: ArtifactStore;
  clients: Pick<Clients, 'find'>;
  apis: Pick<Apis, 'all'>;
  /** How clients register themselves; absent: they don't. */
  registration?: Pick<Registration, 'save' | 'remove'> | undefined;
  registrationTokens: Pick<RegistrationTokens, 'find'>;
  deviceLimits: DeviceLimits;
  audit: Pick<Audit, 'record'>;
  artifactAdapter?: AdapterFactory | undefined;
}): AdapterFactory {
  return (name) => {
    if (name === 'Client') return clientAdapter(stores);
    if (name === 'InitialAccessToken') return registrationTokenAdapter(stores.registrationTokens);
    if (stores.artifactAdapter !== undefined) return stores.artifactAdapter(name);
    switch (name) {
      case 'ReplayDetection':
        return replayAdapter(stores.artifacts);
      case 'RefreshToken': {
        const { artifacts, config } = stores;
        return rotatingAdapter(artifactAdapter(artifacts, name), artifacts, config.lifetimes.refreshLeewaySeconds);
      }
      case 'DeviceCode':
        return deviceCodeAdapter(artifactAdapter(stores.artifacts, name), stores);
      default:
        return artifactAdapter(stores.artifacts, name as ArtifactKind);
    }
  };
}

/** What the library stored comes back as the library's. */
type Found = Promise<AdapterPayload | undefined>;

function artifactAdapter(store: ArtifactStore, kind: ArtifactKind): Adapter {
  return {
    upsert: (id, payload, ttlSeconds) =>
      failClosed(() => store.upsert(kind, id, payload as ArtifactPayload, ttlSeconds)),
    // An API key is no artifact, and is introspected as often as any.
    find: async (id) => (isShapedAsApiKey(id) ? undefined : failClosed(() => viewOf(store).find(kind, id) as Found)),
    findByUid: (uid) => failClosed(() => viewOf(store).findByUid(uid) as Found),
    findByUserCode: (code) => failClosed(() => store.findByUserCode(code) as Found),
    async destroy(id) {
      if (kind === 'Grant') await endGrant(store, id);
      else if (!endsWithGrant(kind, id)) await failClosed(() => store.destroy(kind, id));
    },
    revokeByGrantId: (grantId) => endGrant(store, grantId),
    /**
     * The library looks at `consumed` first and ignores what this answers, so the loser of a race has to be stopped
     * here, or one code would be redeemed twice.
     */
    async consume(id) {
      const outcome = await failClosed(() => store.consume(kind, id));
      if (outcome === 'consumed') return;
      if (kind === 'AuthorizationCode' && outcome === 'already_consumed') await endGrantOfCode(store, id);
      if (kind === 'PushedAuthorizationRequest') {
        throw new errors.InvalidRequestUri('request_uri is invalid, expired, or was already used');
      }
      throw new errors.InvalidGrant(`${kind} ${outcome.replace('_', ' ')}`);
    },
  };
}

/** What verifies a token and does nothing else may look at what was true a moment ago; whatever hands something out may not. */
const VERIFYING_ROUTES: ReadonlySet<string> = new Set(['introspection', 'userinfo']);

type View = Pick<ArtifactStore, 'find' | 'findByUid'>;
/** By the request that looks through it. */
const views = new WeakMap<object, View>();

function viewOf(store: ArtifactStore): View {
  const context = Provider.ctx;
  if (context === undefined || !VERIFYING_ROUTES.has(context.oidc.route)) return store;
  const view = views.get(context) ?? store.openTokenReader();
  views.set(context, view);
  return view;
}

/**
 * A code that is redeemed twice ends its grant (RFC 6749, section 4.1.2). The library sees to that where the second came
 * after the first; here, where both came at once.
 */
async function endGrantOfCode(store: ArtifactStore, code: string): Promise<void> {
  const payload = await failClosed(() => store.find('AuthorizationCode', code));
  if (typeof payload?.grantId === 'string') await endGrantForReuse(store, payload.grantId);
}

/** The library asks whether a `jti` was seen and then saves it: two steps that a race falls between. Asking is the insert here. */
function replayAdapter(store: ArtifactStore): Adapter {
  return {
    ...artifactAdapter(store, 'ReplayDetection'),
    find: (id) =>
      failClosed(async () => {
        const isFirst = await store.insertOnce('ReplayDetection', id, REPLAY_PROVISIONAL_SECONDS);
        return isFirst ? undefined : { jti: id, kind: 'ReplayDetection' };
      }),
  };
}

const refuse = async () => {
  throw new Error('clients are changed through the registry');
};
const readOnly = {
  upsert: refuse,
  destroy: refuse,
  consume: refuse,
  findByUid: refuse,
  findByUserCode: refuse,
  revokeByGrantId: refuse,
};

function clientAdapter({
  clients,
  apis,
  registration,
}: Pick<Parameters<typeof createAdapterFactory>[0], 'clients' | 'apis' | 'registration'>): Adapter {
  return {
    ...readOnly,
    find: (id) =>
      failClosed(async () => {
        const client = await clients.find(id, lookUpOfRequest());
        return client && toProviderMetadata(withLivingScopes(client, apis));
      }),
    upsert: registration?.save ?? refuse,
    destroy: registration?.remove ?? refuse,
  };
}

/**
 * An operator's client keeps an API from losing a scope; one that registered itself must not, and goes on without. Else the
 * library would find its metadata wrong.
 */
function withLivingScopes(client: RegisteredClient, apis: Pick<Apis, 'all'>): RegisteredClient {
  if (client.origin !== 'dynamic') return client;
  const all = apis.all();
  const { scope, authorization_details_types: types, ...metadata } = client.metadata;
  const living = scopesIn(scope).filter(
    (each) => isOpenIdScope(each) || all.some((api) => api.scopes.some((known) => known.scope === each)),
  );
  const livingTypes = types?.filter((each) => all.some((api) => detailsTypeOf(api, each) !== undefined));
  return {
    ...client,
    metadata: {
      ...metadata,
      // Never none: without the member, a client may have every scope there is.
      scope: living.join(' ') || 'openid',
      ...(livingTypes && { authorization_details_types: livingTypes }),
    },
  };
}

/** By which an operator lets somebody register; taken and given back by `registration.ts`. */
function registrationTokenAdapter(tokens: Pick<RegistrationTokens, 'find'>): Adapter {
  return {
    ...readOnly,
    find: (value) =>
      failClosed(async () => {
        const token = await tokens.find(value);
        if (token === undefined) return undefined;
        const { createdAt, expiresAt } = token;
        return {
          jti: value,
          kind: 'InitialAccessToken',
          iat: epochSeconds(createdAt),
          ...(expiresAt && { exp: epochSeconds(expiresAt) }),
        };
      }),
  };
}
