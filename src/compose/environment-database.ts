import type { Config } from '../config/index.ts';
import { openEmbeddedDatabase } from '../database/embedded/index.ts';
import { assertSupportedServer, type Database, openDatabase } from '../database/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** The database of the environment: at DATABASE_URL, else the embedded one, started where it is not running. */
export type OpenedDatabase = Readonly<{
  database: Database;
  /** For LISTEN, migrations and jobs. */
  directUrl: string;
  close(): Promise<void>;
}>;

/**
 * @param options.isWorker whether another process of the server has the same database open, and tells what becomes of it
 * @throws {AppError} `database_unavailable` or `configuration`, with one clear line
 */
export async function openEnvironmentDatabase(
  config: Config,
  logger: Logger,
  { isWorker = false }: { isWorker?: boolean } = {},
): Promise<OpenedDatabase> {
  const embedded =
    config.database.url === undefined
      ? await openEmbeddedDatabase({
          dataDirectory: config.dataDirectory,
          logger: isWorker ? logger.child({}, { level: 'silent' }) : logger,
        })
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
