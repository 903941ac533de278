import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdtempSync, realpathSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { isRoot } from '../private-files.ts';
import { type ClusterOwner, canReach } from './cluster-owner.ts';
import { embeddedFault, INSTEAD } from './embedded-fault.ts';

/** Folders that outlive a reboot, best first; the temporary folder is better than no database at all. */
export const PERSISTENT_PARENTS = ['/var/lib', '/var/tmp', tmpdir()];

/** What the names of folders begin with that were made because the database user can't reach DATA_DIR. */
export const RELOCATED_PREFIX = 'tessera-';

/** Where the cluster stands as long as nothing hinders it. */
export function usualPlace(dataDirectory: string): string {
  return join(dataDirectory, 'postgres');
}

/**
 * Where a new cluster goes: into DATA_DIR, unless root's database user can't get there (a home folder of mode 700). The
 * folder made instead is root's own and has a name that nobody can foresee and plant.
 *
 * @throws AppError when there is no folder that the database user can reach
 */
export function placeForNewCluster(dataDirectory: string, owner: ClusterOwner | undefined): string {
  if (owner === undefined || canReach(owner, '-x', dataDirectory)) return usualPlace(dataDirectory);
  const name = prefixFor(dataDirectory);
  for (const parent of PERSISTENT_PARENTS) {
    const folder = tryToMake(join(parent, name), owner);
    if (folder !== undefined) return join(folder, 'postgres');
  }
  throw embeddedFault(
    `uid ${owner.uid}, who runs it for root, can't reach ${dataDirectory}; set DATA_DIR to a folder outside of a private home, ${INSTEAD}`,
  );
}

/**
 * Whether a cluster outside of DATA_DIR is one that was made by `placeForNewCluster`. Root follows to no other, for
 * whoever owns DATA_DIR can write what they like into its record, and would have root make and give away folders
 * anywhere, or stop the database of somebody else. One whose folder is gone is made anew as if it had never been.
 *
 * @param cluster an absolute path
 */
export function judgeRelocation(cluster: string, dataDirectory: string): 'followed' | 'gone' | 'refused' {
  if (!isRoot) return 'followed';
  const folder = dirname(cluster);
  // A folder of root's own may have been moved since.
  const prefix = statSync(dataDirectory).uid === 0 ? RELOCATED_PREFIX : prefixFor(dataDirectory);
  // The keeper's environment is empty: where TMPDIR is set, its temporary folder is another than ours.
  const isOurs =
    [...PERSISTENT_PARENTS, '/tmp'].includes(dirname(folder)) &&
    basename(folder).startsWith(prefix) &&
    cluster === join(folder, 'postgres');
  if (!isOurs) return 'refused';
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (found === undefined) return 'gone';
  return found.isDirectory() && found.uid === 0 && (found.mode & 0o022) === 0 ? 'followed' : 'refused';
}

function prefixFor(dataDirectory: string): string {
  return `${RELOCATED_PREFIX}${createHash('sha256').update(realpathSync(dataDirectory)).digest('hex').slice(0, 12)}-`;
}

function tryToMake(prefix: string, owner: ClusterOwner): string | undefined {
  try {
    const folder = mkdtempSync(prefix);
    chmodSync(folder, 0o711);
    return canReach(owner, '-x', folder) ? folder : undefined;
  } catch {
    return undefined;
  }
}
