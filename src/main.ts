import { loadConfig } from './config/index.ts';
import { AppError } from './errors.ts';
import { endOnFault } from './process-end.ts';
import { serveAlone, serveAsWorker, serveWithWorkers } from './serve.ts';
import { createLogger } from './telemetry/index.ts';
import { createWorkerLink } from './workers/index.ts';

const link = createWorkerLink();

/** The entry point of the server: configuration, then one process, or the primary and its workers. */
async function main(): Promise<void> {
  const config = loadConfig(process.env);
  const logger = createLogger(config, process.stdout, link === undefined ? null : { pid: process.pid });
  endOnFault(logger);
  if (link !== undefined) await serveAsWorker(config, logger, link);
  else if (config.workers > 1) await serveWithWorkers(config, logger);
  else await serveAlone(config, logger);
}

main().catch(async (error: unknown) => {
  const text =
    error instanceof AppError ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
  // The workers meet the same faults: the primary tells of each once.
  if (link !== undefined) await link.fault(text);
  else process.stderr.write(`${text}\n`);
  process.exit(1);
});
