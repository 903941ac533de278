import type { Logger } from './telemetry/index.ts';

/**
 * Beyond SHUTDOWN_TIMEOUT: for letting go of the database, which may hang. With the default both stay below the 30 s
 * after which Kubernetes kills.
 */
export const CLOSING_LIMIT_SECONDS = 4;

/**
 * Ends this process in order: on SIGINT and SIGTERM, and when the returned function is called. Whatever comes after the
 * first changes nothing: Ctrl-C reaches the whole process group, and npm passes it on once more.
 *
 * @param options.limitSeconds after which what is left is cut off, and the process ends with 1
 */
export function endInOrder(options: {
  stop(reason: string): Promise<void>;
  limitSeconds: number;
  /** Before the process ends over its limit. */
  cutOff?: () => void;
  logger: Logger;
}): (reason: string) => void {
  const { logger } = options;
  let isStopping = false;
  const end = async (reason: string) => {
    if (isStopping) return;
    isStopping = true;
    logger.info(`${reason}: finishing the requests in hand`);
    setTimeout(() => {
      logger.error('stopping takes too long: what is left is cut off');
      options.cutOff?.();
      process.exit(1);
    }, options.limitSeconds * 1_000).unref();
    try {
      await options.stop(reason);
      logger.info('stopped');
    } catch (error) {
      logger.error({ err: error }, 'stopping failed');
      process.exitCode = 1;
    }
    process.exit();
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  return (reason) => void end(reason);
}

/** After a fault that nobody caught, the state is unknown: end, and let the supervisor start afresh. */
export function endOnFault(logger: Logger): void {
  const end = (error: unknown) => {
    logger.fatal({ err: error }, 'a fault that nobody caught');
    process.exit(1);
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
}
