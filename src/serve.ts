import { isIPv6 } from 'node:net';
import { fileURLToPath } from 'node:url';
import {
  composeDomains,
  composeServer,
  openEnvironmentDatabase,
  prepareDatabase,
  type Server,
} from './compose/index.ts';
import { type Config, systemClock } from './config/index.ts';
import { createMetricsServer } from './http/index.ts';
import { demoSignIn } from './playground/index.ts';
import { CLOSING_LIMIT_SECONDS, endInOrder } from './process-end.ts';
import { createProcessesMetrics, type Logger } from './telemetry/index.ts';
import { createSupervisor, type WorkerLink } from './workers/index.ts';

/** Serves in this process alone. */
export async function serveAlone(config: Config, logger: Logger): Promise<void> {
  const server = await start(config, logger, { isWorker: false });
  announce(config, logger, server);
  endInOrder({
    stop: () => server.stop(),
    limitSeconds: config.shutdownTimeoutSeconds + CLOSING_LIMIT_SECONDS,
    logger,
  });
}

/** Serves as one of several processes on the port of the primary, which takes care of all that is there once. */
export async function serveAsWorker(config: Config, logger: Logger, link: WorkerLink): Promise<void> {
  const server = await start(config, logger, { isWorker: true });
  const stop = endInOrder({
    stop: () => server.stop(),
    limitSeconds: config.shutdownTimeoutSeconds + CLOSING_LIMIT_SECONDS,
    logger,
  });
  link.ready(
    { port: server.port() ?? config.port, ownPort: server.ownPort() },
    { stop, work: server.work, appointed: server.playAt, metrics: server.metricsSnapshot },
  );
}

/** For the primary to see how its workers ended, after what they may take. */
const PRIMARY_LIMIT_SECONDS = CLOSING_LIMIT_SECONDS + 0.5;

/** Prepares the database once, lets `config.workers` processes serve, and shows their metrics on one page. */
export async function serveWithWorkers(config: Config, logger: Logger): Promise<void> {
  const opened = await openEnvironmentDatabase(config, logger);
  const metrics = createProcessesMetrics();
  const supervisor = createSupervisor({
    count: config.workers,
    program: fileURLToPath(new URL('main.ts', import.meta.url)),
    metrics,
    clock: systemClock,
    logger,
  });
  const metricsServer = createMetricsServer({
    ...config.metrics,
    registry: {
      contentType: metrics.contentType,
      async metrics() {
        await supervisor.refreshMetrics();
        return metrics.metrics();
      },
    },
  });
  try {
    await prepareDatabase(config, { logger, opened });
    const { port: metricsPort } = await metricsServer.listen();
    endInOrder({
      async stop(reason) {
        await supervisor.stop(reason).finally(async () => {
          await metricsServer.close();
          await opened.close();
        });
      },
      limitSeconds: config.shutdownTimeoutSeconds + PRIMARY_LIMIT_SECONDS,
      cutOff: supervisor.kill,
      logger,
    });
    const { port } = await supervisor.start();
    announce(config, logger, { port: () => port, metricsPort: () => metricsPort });
  } catch (error) {
    await metricsServer.close();
    await opened.close();
    throw error;
  }
}

async function start(config: Config, logger: Logger, options: { isWorker: boolean }): Promise<Server> {
  const opened = await openEnvironmentDatabase(config, logger, options);
  try {
    const domains = await composeDomains(config, {
      logger,
      opened,
      actor: { kind: 'system' },
      isPrepared: options.isWorker,
    });
    const server = await composeServer(config, domains, options);
    await server.start();
    return server;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

function announce(config: Config, logger: Logger, server: Pick<Server, 'port' | 'metricsPort'>): void {
  logger.info(`listening on port ${server.port()} of ${config.hosts.join(' and ')}`);
  if (config.mtls?.source.kind === 'port') logger.info(`mutual TLS on port ${config.mtls.source.port}`);
  const { host } = config.metrics;
  logger.info(`metrics on http://${isIPv6(host) ? `[${host}]` : host}:${server.metricsPort()}/metrics`);
  logger.info(`issuer ${config.issuer}`);
  if (config.environment === 'development' && config.isLocal) {
    const { email, password } = demoSignIn;
    logger.info(`playground on ${config.issuer}/ (sign in as ${email}, password: ${password})`);
  }
}
