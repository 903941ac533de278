import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { AppError } from '../../errors.ts';
import { locateBinaries } from './binaries.ts';
import { clusterOwner } from './cluster-owner.ts';
import { placeForNewCluster, usualPlace } from './cluster-place.ts';
import { databaseUrl, randomPassword, readClusterRecord, writeClusterRecord } from './cluster-record.ts';
import { clusterVersion, createCluster, requireSameVersion } from './create-cluster.ts';
import { embeddedFault } from './embedded-fault.ts';
import { ensureDatabase } from './ensure-database.ts';
import { type Postmaster, startPostmaster } from './postmaster.ts';
import { reachableBinaries } from './reachable-binaries.ts';

const CONNECT_ATTEMPTS = 3;

/**
 * From a data directory to a running PostgreSQL with the database `tessera` in it, making what isn't there yet. Only the
 * keeper may call this.
 *
 * @param log file descriptor of the log
 * @param isRestart true for a restart under users, who know the port already and whose data must be there
 * @param notice told what a person should know, such as data kept outside of DATA_DIR
 * @throws AppError in one clear line
 */
export async function openCluster(options: {
  dataDirectory: string;
  log: number;
  isRestart: boolean;
  notice: (message: string) => void;
}): Promise<Postmaster> {
  const { dataDirectory, notice } = options;
  const installed = await locateBinaries();
  const known = readClusterRecord(dataDirectory);
  const expected = known?.relocatedTo ?? usualPlace(dataDirectory);
  const owner = clusterOwner(dataDirectory, expected);
  const binaries = reachableBinaries(installed, owner);
  const version = clusterVersion(expected);
  if (version !== undefined && known === undefined) {
    throw embeddedFault(
      `${dataDirectory}/postgres.json with the password of ${expected} is missing; restore it or move both away`,
    );
  }
  if (version !== undefined) requireSameVersion(expected, version, binaries);

  if (version === undefined && options.isRestart) throw embeddedFault(`${expected} has vanished`);

  // A folder that was made for it by a start that was cut off is used again.
  const hasPlace = version !== undefined || (known?.relocatedTo !== undefined && existsSync(dirname(expected)));
  const cluster = hasPlace ? expected : placeForNewCluster(dataDirectory, owner);
  const record = {
    password: known?.password ?? randomPassword(),
    port: known?.port,
    relocatedTo: cluster === usualPlace(dataDirectory) ? undefined : cluster,
  };
  if (version === undefined) {
    if (existsSync(cluster)) throw embeddedFault(`${cluster} is there but holds no database; move it away`);
    // The password first: a cluster whose password nobody knows would be lost.
    writeClusterRecord(dataDirectory, record);
    await createCluster({ binaries, cluster, owner, password: record.password });
  }
  for (const [what, path, usual] of [
    ['data', cluster, usualPlace(dataDirectory)],
    ['programs', binaries.home, installed.home],
  ]) {
    if (path !== usual)
      notice(
        `PostgreSQL runs as uid ${owner?.uid ?? process.getuid?.()}, who can't use ${usual}: its ${what} are in ${path}`,
      );
  }
  for (let attempt = 1; ; attempt++) {
    const postmaster = await startPostmaster({
      binaries,
      cluster,
      owner,
      preferredPort: record.port,
      mustKeepPort: options.isRestart,
      log: options.log,
    });
    try {
      const opened = { ...record, port: postmaster.port };
      if (opened.port !== known?.port) writeClusterRecord(dataDirectory, opened);
      await ensureDatabase(databaseUrl(opened));
      return postmaster;
    } catch (error) {
      await postmaster.stop();
      // One that was adopted may have been about to end.
      if (error instanceof AppError || attempt === CONNECT_ATTEMPTS) throw error;
    }
  }
}
