import { rmdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { RELOCATED_PREFIX } from './cluster-place.ts';
import { readClusterRecord } from './cluster-record.ts';
import { errorCode } from './embedded-fault.ts';

const KEPT = ['postgres', 'postgres.json', 'postgres-keeper', 'postgres.log', 'postgres.log.old'];

/** Deletes a stopped cluster and everything that was kept for it, wherever it was put. */
export function deleteCluster(dataDirectory: string): void {
  const relocatedTo = readClusterRecord(dataDirectory)?.relocatedTo;
  const folder = relocatedTo === undefined ? undefined : dirname(relocatedTo);
  if (folder !== undefined && basename(folder).startsWith(RELOCATED_PREFIX))
    rmSync(folder, { recursive: true, force: true });
  for (const name of KEPT) rmSync(join(dataDirectory, name), { recursive: true, force: true });
  try {
    rmdirSync(dataDirectory);
  } catch (error) {
    if (errorCode(error) !== 'ENOTEMPTY' && errorCode(error) !== 'EEXIST') throw error;
  }
}
