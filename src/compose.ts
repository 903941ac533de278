import type { RequestListener } from 'node:http';
import type { Knex } from 'knex';
import type { Middleware } from 'koa';
import packageJson from '../package.json' with { type: 'json' };
import { type Accounts, createAccounts, createPasswordHasher } from './accounts/index.ts';
import { createApp, viewsDirectory } from './app.ts';
import { type Audit, type AuditActor, type AuditContext, createAudit } from './audit/index.ts';
import {
  type Apis,
  algorithmsInUse,
  type Clients,
  createApis,
  createClients,
  MAX_API_TTL_SECONDS,
  type RegistryAudit,
} from './clients/index.ts';
import { CLOCK_TOLERANCE_SECONDS, type Clock, type Config, systemClock } from './config/index.ts';
import { openEmbeddedDatabase } from './database/embedded/index.ts';
import {
  assertSupportedServer,
  type ChangeFeed,
  createChangeFeed,
  type Database,
  ensureSchema,
  openDatabase,
} from './database/index.ts';
import {
  createCsrf,
  createHealth,
  createListener,
  createMetricsServer,
  createPages,
  createRequestLog,
  createRequestMetrics,
  createViews,
  forwardRequest,
  healthChecks,
  observeRequests,
  trustsPeer,
} from './http/index.ts';
import { createProviderPages, interactionRoutes } from './interactions/index.ts';
import { createJobs, sweepTask } from './jobs/index.ts';
import {
  combineKeyWrappers,
  createKeyWrapper,
  createServerSecrets,
  createSigningKeys,
  createVaultKeyWrapper,
  developmentKeyEncryptionKey,
  type KeyWrapper,
  keyCheckSeconds,
  type RotatingServerSecrets,
  type SigningKeys,
} from './keys/index.ts';
import { createSignInLimits } from './limits/index.ts';
import {
  type ConsentsStore,
  createConsentsStore,
  createMetadataValidator,
  createOidc,
  endAccess,
  endToken,
  type OidcDependencies,
} from './oidc/index.ts';
import { playgroundRoutes, settleDemoData } from './playground/index.ts';
import { createMetrics, knexPoolUse, type Logger, type MetricsSnapshot, pgPoolUse } from './telemetry/index.ts';
import {
  type ArtifactCounts,
  type ArtifactStore,
  createPostgresArtifactStore,
  createRevocations,
  type RevocationFilter,
  type Revocations,
  sweepExpiredArtifacts,
  wipeSuccessors,
} from './tokens/index.ts';

const { version } = packageJson;

/** The database of the environment: at DATABASE_URL, else the embedded one, started where it is not running. */
export type OpenedDatabase = Readonly<{
  database: Database;
  /** For LISTEN, migrations and jobs. */
  directUrl: string;
  close(): Promise<void>;
}>;

/** Everything below the protocol, as the server and the command line both want it. */
export type Domains = Readonly<{
  logger: Logger;
  clock: Clock;
  database: Database;
  directUrl: string;
  changes: ChangeFeed;
  audit: Audit;
  accounts: Accounts;
  clients: Clients;
  apis: Apis;
  consents: ConsentsStore;
  keyWrapper: KeyWrapper;
  signingKeys: SigningKeys;
  serverSecrets: RotatingServerSecrets;
  /** As they are now: the first signs, each verifies. */
  cookieKeys(): readonly string[];
  artifacts: ArtifactStore & Readonly<{ counts(): ArtifactCounts }>;
  revocations: Revocations;
  /**
   * Ends grants, sessions and tokens of an account, a client or a grant on every node (src/oidc/end-access.ts).
   * @returns how many that are stored ended
   */
  endAccess(whose: RevocationFilter, by?: AuditContext): Promise<number>;
  /** Ends one token by its value, and a person's with its grant. @returns how many ended; 0: no such token is alive */
  endToken(value: string, by?: AuditContext): Promise<number>;
  close(): Promise<void>;
}>;

/** @throws {AppError} `database_unavailable` or `configuration`, with one clear line */
export async function openEnvironmentDatabase(config: Config, logger: Logger): Promise<OpenedDatabase> {
  const embedded =
    config.database.url === undefined
      ? await openEmbeddedDatabase({ dataDirectory: config.dataDirectory, logger })
      : undefined;
  const url = config.database.url ?? embedded?.url ?? '';
  const database = openDatabase({ url, poolSize: config.database.poolSize, logger });
  const close = async () => {
    await database.close();
    await embedded?.close();
  };
  try {
    await assertSupportedServer(database.knex);
  } catch (error) {
    await close();
    throw error;
  }
  return { database, directUrl: config.database.directUrl ?? url, close };
}

/**
 * Does once what several processes on one machine want to find done: schema, keys, secrets and demo data. The database stays
 * open.
 */
export async function prepareDatabase(
  config: Config,
  { logger, opened }: { logger: Logger; opened: OpenedDatabase },
): Promise<void> {
  const domains = await composeDomains(config, {
    logger,
    opened: { ...opened, close: async () => undefined },
    actor: { kind: 'system' },
  });
  try {
    await settleDemoData(config, domains);
  } finally {
    await domains.close();
  }
}

/**
 * Builds the domains on a database that is up to date: migrated here in development, by an operator in production.
 *
 * @param options.actor who changes things through these domains, for the audit trail
 * @param options.isPrepared whether another process has migrated just now
 */
export async function composeDomains(
  config: Config,
  options: { logger: Logger; opened: OpenedDatabase; actor: AuditActor; clock?: Clock; isPrepared?: boolean },
): Promise<Domains> {
  const { logger, opened, actor, isPrepared = false } = options;
  const clock = options.clock ?? systemClock;
  const { database, directUrl } = opened;
  const { knex } = database;
  // A command must not change a schema in passing, least of all that of a production database without NODE_ENV.
  const isDevelopersServer = !config.isProduction && actor.kind === 'system';
  const migrates = !isPrepared && (isDevelopersServer || config.database.url === undefined);
  await ensureSchema(knex, { migrates, logger });

  const changes = createChangeFeed({ url: directUrl, knex, logger });
  const audit = createAudit({ knex, clock, logger });
  const keyAudit: Pick<Audit, 'recordWithin'> = {
    recordWithin: (trx, event) => audit.recordWithin(trx, event, { actor }),
  };
  const { wrapper, signingKeys } = await openKeys(config, { knex, audit: keyAudit });
  const serverSecrets = createServerSecrets({ knex, wrapper, audit: keyAudit, policy: serverSecretPolicy(config) });
  await serverSecrets.ensure();
  const secrets = serverSecrets.current();
  const cookieKeys = () => config.cookieKeys ?? serverSecrets.current().cookieKeys;
  await signingKeys.ensure();

  const consents = createConsentsStore({ knex, clock });
  const accounts = createAccounts({
    knex,
    changeFeed: changes,
    hasher: createPasswordHasher({ parameters: config.passwordHash }),
    audit: {
      accountChanged: (trx, { action, accountId }) =>
        audit.recordWithin(trx, { type: `account.${action}`, accountId }, { actor }),
    },
    logger,
    clock,
  });
  const registryAudit: RegistryAudit = {
    clientChanged: (trx, { action, clientId }) =>
      audit.recordWithin(trx, { type: `client.${action}`, clientId }, { actor }),
    apiChanged: (trx, { action, identifier }) =>
      audit.recordWithin(trx, { type: `api.${action}`, resource: identifier }, { actor }),
  };
  const apis = createApis({
    knex,
    clock,
    changeFeed: changes,
    audit: registryAudit,
    signingAlgorithms: {
      offered: config.keyPolicy.algorithms,
      signing: async () => (await signingKeys.loadAvailable()).algorithms,
    },
  });
  const validator = createMetadataValidator(async () => {
    const [{ privateJwks, algorithms }] = await Promise.all([
      signingKeys.loadAvailable(),
      // An API that another node made a moment ago counts, too.
      apis.load(),
    ]);
    const { dpopNonceSecret } = serverSecrets.current();
    const keys = { cookieKeys: cookieKeys(), dpopNonceSecret, signingKeys: privateJwks, signingAlgorithms: algorithms };
    return { config, accounts, apis, clients, consents, ...keys };
  });
  const clients: Clients = createClients({ knex, clock, changeFeed: changes, audit: registryAudit, validator });
  await apis.load();
  const artifacts = createPostgresArtifactStore({
    pool: database.pool,
    sealer: secrets.artifactSealer,
    userCodeKey: secrets.userCodeKey,
    clock,
    cache: { size: config.tokenCacheSize, dropFeed: changes, now: () => performance.now() },
  });
  const revocations = createRevocations({
    knex,
    changeFeed: changes,
    clock,
    longestTokenSeconds: Math.max(MAX_API_TTL_SECONDS, config.lifetimes.accessTokenSeconds),
  });
  const access = { config, clock, audit, artifacts, consents, revocations, signingKeys };

  return {
    logger,
    clock,
    database,
    directUrl,
    changes,
    audit,
    accounts,
    clients,
    apis,
    consents,
    keyWrapper: wrapper,
    signingKeys,
    serverSecrets,
    cookieKeys,
    artifacts,
    revocations,
    endAccess: (whose, by = { actor }) => endAccess(access, whose, by),
    endToken: (value, by = { actor }) => endToken(access, value, by),
    async close() {
      await changes.close();
      await artifacts.close();
      await revocations.close();
      await audit.close();
      await opened.close();
    },
  };
}

function serverSecretPolicy({ keyPolicy, lifetimes, cookieKeys }: Config) {
  const { rotationSeconds, announceSeconds } = keyPolicy;
  const longestCookieSeconds = Math.max(lifetimes.sessionSeconds, lifetimes.interactionSeconds);
  return { rotationSeconds, announceSeconds, longestCookieSeconds, rotatesCookieKeys: cookieKeys === undefined };
}

/** The keys of the environment, and what opens them; makes none that the database lacks. */
export async function openKeys(
  config: Config,
  dependencies: { knex: Knex; audit: Pick<Audit, 'recordWithin'> },
): Promise<{ wrapper: KeyWrapper; signingKeys: SigningKeys }> {
  const wrapper = await openKeyWrapper(config);
  const policy = { ...config.keyPolicy, retentionSeconds: retentionSeconds(config) };
  const signingKeys = createSigningKeys({ ...dependencies, wrapper, policy, algorithmsInUse });
  return { wrapper, signingKeys };
}

/** Vault, the keys of the environment, or both; in development without either the key of the data directory. */
async function openKeyWrapper({ vault, keyEncryptionKeys: given, dataDirectory }: Config): Promise<KeyWrapper> {
  const keyEncryptionKeys =
    given ?? (vault === undefined ? [await developmentKeyEncryptionKey(dataDirectory)] : undefined);
  return combineKeyWrappers({
    local: keyEncryptionKeys && createKeyWrapper({ keyEncryptionKeys }),
    vault: vault && createVaultKeyWrapper(vault),
    vaultSeals: vault?.seals ?? false,
  });
}

/** What a key has signed at its last moment has to verify to its end; a session ends with its ID token as the hint. */
function retentionSeconds({ lifetimes }: Config): number {
  const { sessionSeconds, idTokenSeconds, accessTokenSeconds } = lifetimes;
  return Math.max(sessionSeconds, idTokenSeconds, accessTokenSeconds, MAX_API_TTL_SECONDS) + CLOCK_TOLERANCE_SECONDS;
}

export type Server = Readonly<{
  /** Resolves when requests are answered. */
  start(): Promise<void>;
  /** Finishes the work in hand, then lets go of everything. */
  stop(): Promise<void>;
  /** Answers requests without a port of its own. */
  handler: RequestListener;
  /** Where it listens; known once started. */
  port(): number | undefined;
  /** Where this worker alone listens, on loopback; absent where there is no playground. */
  ownPort(): number | undefined;
  /** The playground is that of the worker whose own port this is. */
  playAt(ownPort: number | undefined): void;
  /** Where `/metrics` is; known once started, and absent from a worker. */
  metricsPort(): number | undefined;
  /** For a page of several processes. */
  metricsSnapshot(): Promise<MetricsSnapshot>;
  /** Does the scheduled work, too; a worker only when it is told to. */
  work(): void;
}>;

/** Scheduled work can wait: the first moments of a node belong to the requests that it was started for. */
const JOBS_DELAY_MS = 5_000;

/** It keeps in memory what a browser does there: with several processes, that is the memory of one. */
function playgroundOfOneProcess(playground: Middleware, elsewhere: () => number | undefined): Middleware {
  return (context, next) => {
    const port = elsewhere();
    return port === undefined || !context.path.startsWith('/playground/')
      ? playground(context, next)
      : forwardRequest(context, port);
  };
}

/**
 * Builds the whole server on its domains, ready to start.
 *
 * @param options.artifactAdapter another way of keeping what the protocol stores, to be compared (bench/)
 * @param options.isWorker one of several processes on one port: what is there once is taken care of elsewhere
 */
export async function composeServer(
  config: Config,
  domains: Domains,
  { isWorker = false, ...options }: Pick<OidcDependencies, 'artifactAdapter'> & { isWorker?: boolean } = {},
): Promise<Server> {
  const { accounts, clients, apis, audit, changes, clock, database, logger, serverSecrets } = domains;
  const secrets = serverSecrets.current();
  const pages = createPages({ views: createViews({ viewsDirectory }) });
  const csrf = createCsrf({ key: secrets.csrfKey, isSecure: config.isSecure });
  const limits = createSignInLimits({
    pool: database.pool,
    limits: config.signInLimits,
    pseudonymKey: secrets.pseudonymKey,
    logger,
  });
  if (!isWorker) await settleDemoData(config, domains);
  // No answer before all is known that was revoked.
  await domains.revocations.load();
  const oidc = await createOidc({
    ...domains,
    ...options,
    config,
    pages: createProviderPages({ pages, clients, accounts }),
  });
  apis.onChange(() => oidc.rebuild());
  changes.subscribe('keys', async () => {
    // Neither waits for the other: a key that was revoked leaves at once, though a secret can't be opened for the moment.
    await Promise.all([oidc.rebuild(), serverSecrets.reload().then(() => oidc.rebuild())]);
  });

  let isShuttingDown = false;
  const metrics = createMetrics({ version });
  metrics.watchPool('artifacts', () => pgPoolUse(database.pool));
  metrics.watchPool('queries', () => knexPoolUse(database.knex));
  metrics.watchAudit(audit.counts);
  metrics.watchArtifacts(domains.artifacts.counts);
  const metricsServer = createMetricsServer({ ...config.metrics, registry: metrics.registry });
  const jobs = createJobs({
    databaseUrl: domains.directUrl,
    logger,
    tasks: [
      sweepTask({
        logger,
        ...config.sweep,
        sweeps: [
          {
            name: 'successors of refresh tokens',
            sweep: (batchSize) =>
              wipeSuccessors({ pool: database.pool, leewaySeconds: config.lifetimes.refreshLeewaySeconds, batchSize }),
          },
          { name: 'revocations', sweep: domains.revocations.sweep },
          { name: 'sign-in attempts', sweep: limits.sweep },
          {
            name: 'artifacts',
            sweep: (batchSize) => sweepExpiredArtifacts({ pool: database.pool, clock, batchSize }),
          },
        ],
      }),
      {
        name: 'rotate-keys',
        intervalSeconds: keyCheckSeconds(config.keyPolicy),
        async run() {
          try {
            await domains.signingKeys.advance();
          } finally {
            await serverSecrets.advance();
          }
        },
      },
    ],
  });
  const app = createApp({
    config,
    cookieKeys: domains.cookieKeys,
    pages,
    observe: observeRequests({
      observers: [createRequestLog({ logger }), createRequestMetrics({ metrics })],
      isTrustedProxy: trustsPeer(config.trustedProxies),
    }),
    health: createHealth({ checks: healthChecks(domains), isShuttingDown: () => isShuttingDown, clock, logger }),
    interactions: interactionRoutes({ steps: oidc.steps, accounts, apis, clients, limits, audit, csrf, pages }),
    playground: !config.isLocal
      ? undefined
      : playgroundOfOneProcess(playgroundRoutes({ config, apis, clients, csrf, pages, clock }), () =>
          playgroundPort === ownPort ? undefined : playgroundPort,
        ),
    oidc: oidc.middleware,
  });
  const handler = app.callback();
  const listener = createListener(handler, config);
  const ownListener =
    isWorker && config.isLocal ? createListener(handler, { hosts: ['127.0.0.1'], port: 0, isOwn: true }) : undefined;
  let port: number | undefined;
  let ownPort: number | undefined;
  let playgroundPort: number | undefined;
  let metricsPort: number | undefined;
  let jobsTimer: NodeJS.Timeout | undefined;

  function work(): void {
    jobsTimer = setTimeout(() => {
      jobs.start().catch((error: unknown) => logger.error({ err: error }, 'the scheduled work could not start'));
    }, JOBS_DELAY_MS);
  }

  return {
    handler,
    port: () => port,
    ownPort: () => ownPort,
    playAt(elsewhere) {
      playgroundPort = elsewhere;
    },
    metricsPort: () => metricsPort,
    metricsSnapshot: () => metrics.registry.getMetricsAsJSON(),
    work,
    async start() {
      await changes.start();
      ({ port } = await listener.listen());
      ownPort = (await ownListener?.listen())?.port;
      if (isWorker) return;
      ({ port: metricsPort } = await metricsServer.listen());
      work();
    },
    async stop() {
      isShuttingDown = true;
      clearTimeout(jobsTimer);
      await Promise.all([listener.drain(config.shutdownTimeoutSeconds), jobs.stop()]);
      await ownListener?.drain(0);
      await metricsServer.close();
      await domains.close();
    },
  };
}
