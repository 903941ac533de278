import type { Middleware } from 'koa';
import type { AdapterFactory, KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Accounts } from '../accounts/index.ts';
import type { ApiKeys } from '../api-keys/index.ts';
import type { Audit } from '../audit/index.ts';
import type { Apis, Clients, DescribedClients, RegistrationTokens } from '../clients/index.ts';
import { type Clock, type Config, systemClock } from '../config/index.ts';
import { RETRY_AFTER_SECONDS } from '../errors.ts';
import type { RotatingServerSecrets, SigningKeys } from '../keys/index.ts';
import type { DeviceLimits } from '../limits/index.ts';
import { type Logger, outcomeOf } from '../telemetry/index.ts';
import type { ArtifactStore, Revocations } from '../tokens/index.ts';
import { createAdapterFactory } from './adapter.ts';
import { hideUnofferedEncryption } from './answer-formats.ts';
import { limitApiKeys } from './api-key-grant.ts';
import { listenForAudit, settleAudit } from './audit-listeners.ts';
import { createLogoutSender, type KeepNotice, tellByQueue } from './backchannel-logout.ts';
import { type Callers, createCallers } from './callers.ts';
import { keepClientInstances } from './client-instances.ts';
import { noteClientKeyFaults } from './client-key-faults.ts';
import type { ConsentsStore } from './consents-store.ts';
import { addToIdTokens, type ClaimsHook, type ContextualClaims, createContextualClaims } from './contextual-claims.ts';
import { completeDeviceFlow } from './device-flow.ts';
import { failClosed } from './faults.ts';
import { GrantProvider } from './grant-handlers.ts';
import { createInteractionSteps, type InteractionSteps } from './interaction-steps.ts';
import { introspectApiKey } from './introspect-api-key.ts';
import { introspectJwt } from './introspect-jwt.ts';
import { createJwtVerifier } from './jwt-access-token.ts';
import { noteJwtRefusals } from './jwt-refusal.ts';
import { noteRevision } from './jwt-revision.ts';
import { createLivingJwtReader } from './living-jwt.ts';
import type { ClientCertificates } from './mtls.ts';
import { createOutboundFetch } from './outbound-fetch.ts';
import { type IntrospectedToken, mayIntrospect } from './policies.ts';
import { holdToServerProfile } from './profile-features.ts';
import { refuseStaleProofs } from './proof-freshness.ts';
import { type ProviderPages, providerConfiguration, routes } from './provider-configuration.ts';
import { createProviderHandle } from './provider-handle.ts';
import { answerWithSuccessor } from './refresh-rotation.ts';
import { createRegistration, type RegistrationDependencies } from './registration.ts';
import { revokeApiKey } from './revoke-api-key.ts';
import { revokeJwt } from './revoke-jwt.ts';
import { signIntrospection } from './signed-introspection.ts';
import { registerTokenExchange } from './token-exchange.ts';
import { createPresentedKeyReader } from './token-exchange-api-key.ts';
import { introspectExchanged } from './token-exchange-introspection.ts';
import { createLinkReader } from './token-exchange-links.ts';
import { createPresentedTokenReader } from './token-exchange-tokens.ts';
import { introspectRoles, rolesOf } from './token-roles.ts';

export type OidcDependencies = {
  config: Config;
  accounts: Accounts;
  apis: Apis;
  /** With those that describe themselves, where they are let in. */
  clients: Clients;
  describedClients?: Pick<DescribedClients, 'reasonOf'> | undefined;
  apiKeys: Pick<ApiKeys, 'find' | 'verify' | 'allow' | 'revoke'>;
  consents: ConsentsStore;
  registrationTokens: RegistrationTokens;
  /** What decides about clients that register themselves; absent: they don't. */
  registering?: Omit<RegistrationDependencies, 'config' | 'apis' | 'clients' | 'tokens'> | undefined;
  artifacts: ArtifactStore;
  revocations: Revocations;
  audit: Audit;
  signingKeys: Pick<SigningKeys, 'loadAvailable'>;
  cookieKeys(): readonly string[];
  serverSecrets: Pick<RotatingServerSecrets, 'current'>;
  clientCertificates: ClientCertificates;
  /** A deployment's own code (CLAIMS_HOOK), and what it is told of the network that a request comes from. */
  claimsHook?: { hook: ClaimsHook; failedSignIns(address: string): Promise<number> } | undefined;
  pages: ProviderPages;
  deviceLimits: DeviceLimits;
  keepLogoutNotice: KeepNotice;
  logger: Logger;
  clock: Clock;
  /** Keeps what the library stores in the artifact store's place, so that another way of keeping it can be compared. */
  artifactAdapter?: AdapterFactory | undefined;
};

/** The protocol: its endpoints, and the way from our pages back into it. */
export type Oidc = Readonly<{
  middleware: Middleware;
  steps: InteractionSteps;
  /** Delivers a notice that was kept; see src/oidc/backchannel-logout.ts. */
  sendLogout(notice: unknown, signal: AbortSignal): Promise<void>;
  /**
   * Takes over the keys and APIs as they are now; requests under way end with those before.
   *
   * @throws what kept a key from being opened, when all others were taken over
   */
  rebuild(): Promise<void>;
}>;

/** @throws {AppError} `configuration` where the signing keys can't be opened */
export async function createOidc(given: OidcDependencies): Promise<Oidc> {
  // Whoever looks for a client in this room may find an API key.
  const dependencies = { ...given, clients: createCallers(given) };
  const { config, clients, consents } = dependencies;
  const registration =
    given.registering &&
    createRegistration({
      ...given.registering,
      config,
      clients: given.clients,
      apis: given.apis,
      tokens: given.registrationTokens,
    });
  const adapter = createAdapterFactory({ ...dependencies, registration });
  const contextualClaims = contextualClaimsOf(dependencies);
  const mayIntrospectNow = (callerId: string, token: IntrospectedToken) => mayIntrospect(callerId, token, dependencies);
  let keyFault: unknown;
  const handle = await createProviderHandle(async () => {
    const { privateJwks, publicJwks, algorithms, fault } = await dependencies.signingKeys.loadAvailable();
    keyFault = fault;
    const inputs = {
      ...dependencies,
      adapter,
      registration,
      contextualClaims,
      cookieKeys: dependencies.cookieKeys(),
      dpopNonceSecret: dependencies.serverSecrets.current().dpopNonceSecret,
      pairwiseSecret: dependencies.serverSecrets.current().pairwiseSecret,
      signingKeys: privateJwks,
      signingAlgorithms: algorithms,
    };
    const verify = createJwtVerifier(config.issuer, publicJwks);
    const toVerify = { ...dependencies, artifacts: viewToVerify(dependencies.artifacts) };
    const readLinks = createLinkReader(dependencies);
    const readLinksToVerify = createLinkReader(toVerify);
    const readJwt = createLivingJwtReader(verify, { ...dependencies, readLinks });
    const provider = new GrantProvider(config.issuer, providerConfiguration(inputs));
    // `ownAddress` has made the forwarded headers our own words.
    provider.proxy = true;
    keepClientInstances(provider, clients, {
      described: dependencies.describedClients,
      holdTo: (registered) => holdToServerProfile(config, registered),
    });
    compareSecretsByDigest(provider, clients);
    registration?.manageClients(provider);
    tellByQueue(provider, dependencies.keepLogoutNotice);
    if (contextualClaims !== undefined) addToIdTokens(provider, contextualClaims);
    listenForAudit(provider, dependencies.audit);
    noteJwtRefusals(provider);
    noteClientKeyFaults(provider);
    provider.on('server_error', (context, error) => {
      outcomeOf(context.req).fault = error;
    });
    provider.use(noteRevision(dependencies.revocations));
    provider.use(settleAudit);
    provider.use(noteOutcome);
    provider.use(refuseStaleProofs(systemClock));
    if (registration !== undefined) {
      provider.use(registration.present);
      provider.use(registration.noteUse);
    }
    provider.use(hideUnofferedEncryption);
    provider.use(signIntrospection(provider, routes.introspection));
    provider.use(answerWithSuccessor);
    provider.use(completeDeviceFlow(dependencies.pages));
    // An answer passes these from the last to the first: whether the token is alive is settled before it gets its roles.
    provider.use(introspectRoles(dependencies));
    provider.use(introspectExchanged(readLinksToVerify));
    provider.use(
      introspectJwt({
        read: createLivingJwtReader(verify, { ...toVerify, readLinks: readLinksToVerify }),
        mayIntrospect: mayIntrospectNow,
        rolesOf: (subject) => rolesOf(subject, dependencies),
      }),
    );
    provider.use(introspectApiKey({ ...dependencies, issuer: config.issuer }));
    provider.use(revokeApiKey(dependencies));
    provider.use(revokeJwt(provider, { ...dependencies, read: readJwt }));
    provider.wrapGrant('client_credentials', limitApiKeys(dependencies));
    registerTokenExchange(provider, {
      ...dependencies,
      read: createPresentedTokenReader({ readJwt, readLinks, now: dependencies.clock }),
      readKey: createPresentedKeyReader(dependencies),
      mayIntrospect: mayIntrospectNow,
    });
    return provider;
  });
  if (keyFault !== undefined) throw keyFault;
  return {
    middleware: handle.middleware,
    steps: createInteractionSteps({ provider: handle.current, consents, clients }),
    sendLogout: createLogoutSender({
      provider: handle.current,
      fetch: createOutboundFetch(config.outbound),
      logger: dependencies.logger,
    }),
    async rebuild() {
      await handle.rebuild();
      // What can be honoured is; the rest is tried again by who asked for it.
      if (keyFault !== undefined) throw keyFault;
    },
  };
}

function contextualClaimsOf(
  dependencies: Omit<OidcDependencies, 'clients'> & { clients: Callers },
): ContextualClaims | undefined {
  const { claimsHook, config } = dependencies;
  if (claimsHook === undefined || config.claimsHook === undefined) return undefined;
  return createContextualClaims({ ...dependencies, ...claimsHook, policy: config.claimsHook });
}

/** Each look is a request's only one. */
function viewToVerify(artifacts: ArtifactStore): Pick<ArtifactStore, 'find' | 'findByUid' | 'hasKey'> {
  return {
    find: (kind, id) => artifacts.openTokenReader().find(kind, id),
    findByUid: (uid) => artifacts.openTokenReader().findByUid(uid),
    hasKey: (key) => artifacts.openTokenReader().hasKey(key),
  };
}

/** The library awaits this comparison; the registry holds digests and knows that two secrets may be live. */
function compareSecretsByDigest(provider: Provider, clients: Pick<Callers, 'verifySecret'>): void {
  Object.defineProperty(provider.Client.prototype, 'compareClientSecret', {
    value: function compareClientSecret(this: { clientId: string }, presented: string): Promise<boolean> {
      return failClosed(() => clients.verifySecret(this.clientId, presented));
    },
  });
}

async function noteOutcome(context: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> {
  await next();
  if (context.oidc === undefined) return;
  const { route, client, params } = context.oidc;
  const { error } = (context.body ?? {}) as { error?: unknown };
  const outcome = outcomeOf(context.req);
  outcome.clientId = client?.clientId;
  if (route === 'token' && typeof params?.grant_type === 'string') outcome.grantType = params.grant_type;
  if (typeof error === 'string') outcome.error = error;
  if (context.status === 503) context.set('Retry-After', String(RETRY_AFTER_SECONDS));
}
