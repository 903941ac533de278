import type { RequestListener } from 'node:http';
import packageJson from '../../package.json' with { type: 'json' };
import { createApp, viewsDirectory } from '../app.ts';
import type { Config } from '../config/index.ts';
import {
  createClientCertificates,
  createCsrf,
  createHealth,
  createListener,
  createMetricsServer,
  createPages,
  createRequestLog,
  createRequestMetrics,
  createViews,
  healthChecks,
  observeRequests,
  trustsPeer,
} from '../http/index.ts';
import { createProviderPages, interactionRoutes } from '../interactions/index.ts';
import type { Jobs } from '../jobs/index.ts';
import { createDeviceLimits, createSignInLimits } from '../limits/index.ts';
import { createOidc, type OidcDependencies } from '../oidc/index.ts';
import { playgroundOfOneProcess, playgroundRoutes, settleDemoData } from '../playground/index.ts';
import { createMetrics, knexPoolUse, type MetricsSnapshot, pgPoolUse } from '../telemetry/index.ts';
import { composeClaimsHook } from './claims-hook.ts';
import { composeClients } from './described-clients.ts';
import type { Domains } from './domains.ts';
import { composeJobs } from './jobs.ts';
import { composeListeners } from './listeners.ts';
import { logoutWork } from './logout-work.ts';
import { composeRegistration } from './registration.ts';

const { version } = packageJson;

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
  /** The scheduled work, and jobs. */
  jobs: Pick<Jobs, 'start' | 'stop'>;
  /** Does the scheduled work, too; a worker only when it is told to. */
  work(): void;
}>;

/** Scheduled work can wait: the first moments of a node belong to the requests that it was started for. */
const JOBS_DELAY_MS = 5_000;

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
  const { accounts, apis, audit, changes, clock, database, logger, serverSecrets } = domains;
  const { clients, describedClients } = composeClients(config, domains);
  const secrets = serverSecrets.current();
  const pages = createPages({ views: createViews({ viewsDirectory }) });
  const clientCertificates = createClientCertificates(config, { clock });
  const csrf = createCsrf({ key: secrets.csrfKey, isSecure: config.isSecure });
  const counting = { pool: database.pool, pseudonymKey: secrets.pseudonymKey, logger };
  const limits = createSignInLimits({ ...counting, limits: config.signInLimits });
  const deviceLimits = createDeviceLimits({ ...counting, limits: config.userCodeLimits });
  if (!isWorker) await settleDemoData(config, domains);
  // No answer before all is known that was revoked.
  await domains.revocations.load();
  const oidc = await createOidc({
    ...domains,
    ...options,
    clients,
    describedClients,
    registering: composeRegistration(config, domains, counting),
    claimsHook: await composeClaimsHook(config, limits),
    config,
    deviceLimits,
    clientCertificates,
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
  metrics.watchRevocations(domains.revocations.heldCount);
  metrics.watchApiKeys(domains.apiKeys.counts);
  const metricsServer = createMetricsServer({ ...config.metrics, registry: metrics.registry });
  const jobs = composeJobs(config, domains, { sweepAttempts: limits.sweep, works: [logoutWork(oidc.sendLogout)] });
  metrics.watchJobs(jobs.counts);
  const app = createApp({
    config,
    cookieKeys: domains.cookieKeys,
    pages,
    receiveCertificates: clientCertificates.receive,
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
  const listeners = await composeListeners(config, { handler, clock, logger });
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
    jobs,
    metricsSnapshot: () => metrics.registry.getMetricsAsJSON(),
    work,
    async start() {
      await changes.start();
      ({ port } = await listeners.listen());
      ownPort = (await ownListener?.listen())?.port;
      if (isWorker) return;
      ({ port: metricsPort } = await metricsServer.listen());
      work();
    },
    async stop() {
      isShuttingDown = true;
      clearTimeout(jobsTimer);
      await Promise.all([listeners.drain(config.shutdownTimeoutSeconds), jobs.stop()]);
      await ownListener?.drain(0);
      await metricsServer.close();
      await domains.close();
    },
  };
}
