import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../telemetry/index.ts';
import { ensureDataDirectory, ensurePrivateFolder } from '../private-files.ts';
import { databaseUrl, readClusterRecord } from './cluster-record.ts';
import { deleteCluster } from './delete-cluster.ts';
import { embeddedFault, folderFault } from './embedded-fault.ts';
import { type Seat, takeSeat } from './keeper-seat.ts';

type EmbeddedDatabase = Readonly<{
  /** Holds the password: never log it. */
  url: string;
  /** Ends this use; the last user waits until no process is left. Close every connection before. May be called again. */
  close(): Promise<void>;
  /**
   * Closes, and deletes the database with all that was kept for it; DATA_DIR too when nothing else is in it. For tests.
   *
   * @throws AppError when another process uses it
   */
  destroy(): Promise<void>;
}>;

/** How long to wait before a killed keeper that could not be replaced is tried again. */
const RETURN_PAUSE_MS = 1_000;

/**
 * Opens the PostgreSQL of a data directory, making and starting it where needed (about a second from nothing), and keeps
 * it running until `close`, or until this process ends in whatever way.
 *
 * @param dataDirectory absolute, or relative to the working directory; made where it isn't there
 * @throws AppError `database_unavailable`: the folder can't be written, no binaries for this platform, a cluster of another
 *   major version, a full disk
 */
export async function openEmbeddedDatabase(options: {
  dataDirectory: string;
  logger: Pick<Logger, 'info' | 'warn' | 'error'>;
}): Promise<EmbeddedDatabase> {
  const { logger } = options;
  const dataDirectory = resolve(options.dataDirectory);
  const keeperFolder = join(dataDirectory, 'postgres-keeper');
  const enter = async () => {
    try {
      ensureDataDirectory(dataDirectory);
      ensurePrivateFolder(keeperFolder);
      return await takeSeat({ dataDirectory, keeperFolder, notice: (message) => logger.info(message) });
    } catch (error) {
      throw folderFault(dataDirectory, error);
    }
  };
  const seat = await enter();
  const record = readClusterRecord(dataDirectory);
  if (record === undefined) throw embeddedFault(`${dataDirectory}/postgres.json has vanished`);
  const leave = holdSeat(seat, logger, () => {
    // Whoever deleted the data directory under a running server doesn't want another one made.
    if (existsSync(keeperFolder)) return enter();
    throw embeddedFault(`${keeperFolder} has vanished`);
  });
  let leaving: ReturnType<Seat['leave']> | undefined;
  const leaveOnce = () => {
    leaving ??= leave();
    return leaving;
  };
  return Object.freeze({
    url: databaseUrl(record),
    async close() {
      await leaveOnce();
    },
    async destroy() {
      if ((await leaveOnce()) === 'staying') throw embeddedFault(`${dataDirectory} is used by another process`);
      deleteCluster(dataDirectory);
    },
  });
}

/** Keeps a seat at whichever keeper there is until the returned function is called. */
function holdSeat(first: Seat, logger: Pick<Logger, 'warn' | 'error'>, enter: () => Promise<Seat>): Seat['leave'] {
  const leaving = new AbortController();
  const left = new Promise<void>((resolve) => leaving.signal.addEventListener('abort', () => resolve()));
  let seat: Seat | undefined = first;
  const held = (async () => {
    while (!leaving.signal.aborted) {
      await Promise.race([seat?.lost, left]);
      if (leaving.signal.aborted) return;
      logger.warn('the keeper of the embedded PostgreSQL was killed; another takes over');
      seat = await attempt(enter, logger);
      if (seat === undefined) await Promise.race([delay(RETURN_PAUSE_MS, undefined, { ref: false }), left]);
    }
  })();
  return async () => {
    leaving.abort();
    await held;
    const answer = await seat?.leave();
    if (answer !== undefined) return answer;
    // PostgreSQL outlived its keeper: a new keeper adopts it and, with nobody left, stops it.
    const last = await attempt(enter, logger);
    return last?.leave();
  };
}

async function attempt(enter: () => Promise<Seat>, logger: Pick<Logger, 'error'>): Promise<Seat | undefined> {
  try {
    return await enter();
  } catch (error) {
    logger.error({ err: error }, 'the embedded PostgreSQL has lost its keeper');
    return undefined;
  }
}
