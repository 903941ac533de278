import { isIPv6 } from 'node:net';
import { composeDomains, composeServer, openEnvironmentDatabase, type Server } from './compose.ts';
import { type Config, loadConfig } from './config/index.ts';
import { AppError } from './errors.ts';
import { demoSignIn } from './playground/index.ts';
import { createLogger, type Logger } from './telemetry/index.ts';

/** The entry point of the server: configuration, parts, ports; and their end. */
async function main(): Promise<void> {
  const config = loadConfig(process.env);
  const logger = createLogger(config);
  endOnFault(logger);
  const opened = await openEnvironmentDatabase(config, logger);
  const server = await start(config, logger, opened).catch(async (error: unknown) => {
    await opened.close();
    throw error;
  });
  stopOnSignal(server, config, logger);
}

async function start(
  config: Config,
  logger: Logger,
  opened: Awaited<ReturnType<typeof openEnvironmentDatabase>>,
): Promise<Server> {
  const domains = await composeDomains(config, { logger, opened, actor: { kind: 'system' } });
  const server = await composeServer(config, domains);
  await server.start();
  logger.info(`listening on port ${config.port} of ${config.hosts.join(' and ')}`);
  const { host } = config.metrics;
  logger.info(`metrics on http://${isIPv6(host) ? `[${host}]` : host}:${server.metricsPort()}/metrics`);
  logger.info(`issuer ${config.issuer}`);
  if (config.environment === 'development' && config.isLocal) {
    const { email, password } = demoSignIn;
    logger.info(`playground on ${config.issuer}/ (sign in as ${email}, password: ${password})`);
  }
  return server;
}

/**
 * Beyond SHUTDOWN_TIMEOUT: for letting go of the database, which may hang. With the default both stay below the 30 s
 * after which Kubernetes kills.
 */
const CLOSING_LIMIT_SECONDS = 4;

/** A second signal changes nothing: Ctrl-C reaches the whole process group, and npm passes it on once more. */
function stopOnSignal(server: Server, config: Config, logger: Logger): void {
  let isStopping = false;
  const stop = async (signal: NodeJS.Signals) => {
    if (isStopping) return;
    isStopping = true;
    logger.info(`${signal}: finishing the requests in hand`);
    setTimeout(
      () => {
        logger.error('stopping takes too long: what is left is cut off');
        process.exit(1);
      },
      (config.shutdownTimeoutSeconds + CLOSING_LIMIT_SECONDS) * 1_000,
    ).unref();
    try {
      await server.stop();
      logger.info('stopped');
    } catch (error) {
      logger.error({ err: error }, 'stopping failed');
      process.exitCode = 1;
    }
    process.exit();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
}

/** After a fault that nobody caught, the state is unknown: end, and let the supervisor start afresh. */
function endOnFault(logger: Logger): void {
  const end = (error: unknown) => {
    logger.fatal({ err: error }, 'a fault that nobody caught');
    process.exit(1);
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
}

main().catch((error: unknown) => {
  const text =
    error instanceof AppError ? error.message : error instanceof Error ? (error.stack ?? error.message) : error;
  process.stderr.write(`${text}\n`);
  process.exit(1);
});
