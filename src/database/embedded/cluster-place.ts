import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
  const name = `${RELOCATED_PREFIX}${createHash('sha256').update(realpathSync(dataDirectory)).digest('hex').slice(0, 12)}-`;
  for (const parent of PERSISTENT_PARENTS) {
    const folder = tryToMake(join(parent, name), owner);
    if (folder !== undefined) return join(folder, 'postgres');
  }
  throw embeddedFault(
    `uid ${owner.uid}, who runs it for root, can't reach ${dataDirectory}; set DATA_DIR to a folder outside of a private home, ${INSTEAD}`,
  );
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
