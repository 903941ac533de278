import type { Domains } from '../compose/index.ts';
import { type Config, loadConfig } from '../config/index.ts';
import { createLogger, type Logger } from '../telemetry/index.ts';

/**
 * Does some work on the domains, with all keys and secrets open: for what makes or checks something by them.
 *
 * @throws {AppError} as `withDomains` does, and as `openKeys` does, before the work begins
 */
export function withKeys<T>(work: (domains: Domains, config: Config) => Promise<T>): Promise<T> {
  return withDomains(async (domains, config) => {
    await domains.openKeys();
    return work(domains, config);
  });
}

/**
 * Does some work on the domains of the environment, and closes them whatever becomes of it. Keys and secrets are
 * opened by what asks for them alone, so that whoever holds the key-encryption key may be away.
 *
 * @throws {AppError} `configuration` or `database_unavailable` before the work begins; else what the work throws
 */
export async function withDomains<T>(work: (domains: Domains, config: Config) => Promise<T>): Promise<T> {
  const config = loadConfig(process.env);
  const logger = commandLogger(config);
  // Only now, so that help and wrong usage are answered at once.
  const { composeDomains, openEnvironmentDatabase } = await import('../compose/index.ts');
  const opened = await openEnvironmentDatabase(config, logger);
  let domains: Domains;
  try {
    domains = await composeDomains(config, { logger, opened, actor: { kind: 'operator' }, isCommand: true });
  } catch (error) {
    await opened.close();
    throw error;
  }
  try {
    return await work(domains, config);
  } finally {
    await domains.close();
  }
}

/** A command speaks through its answer or its fault; the log is for who looks for a fault with LOG_LEVEL=debug. */
export function commandLogger(config: Config): Logger {
  const isAskedFor = config.logLevel === 'debug' || config.logLevel === 'trace';
  return createLogger({ ...config, logLevel: isAskedFor ? config.logLevel : 'silent' }, process.stderr);
}
