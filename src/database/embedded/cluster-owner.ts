import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { isRoot } from '../private-files.ts';
import { embeddedFault, errorCode, INSTEAD } from './embedded-fault.ts';

/** The unprivileged user that PostgreSQL runs as when Tessera runs as root, whom PostgreSQL refuses. */
export type ClusterOwner = Readonly<{ uid: number; gid: number }>;

const UNPRIVILEGED_USERS = ['postgres', 'nobody'];

/**
 * Who runs PostgreSQL. Undefined for an ordinary user, who runs it himself; for root the owner of the cluster, else the
 * owner of DATA_DIR where that isn't root, else the system's `postgres`, else `nobody`.
 *
 * @throws AppError when the cluster belongs to someone else, or root finds nobody to run it as
 */
export function clusterOwner(dataDirectory: string, cluster: string): ClusterOwner | undefined {
  const present = ownerOf(cluster);
  if (!isRoot) {
    if (present === undefined || present.uid === process.getuid?.()) return undefined;
    throw embeddedFault(`${cluster} belongs to another user (uid ${present.uid}); run as that user, ${INSTEAD}`);
  }
  for (const owner of [present, ownerOf(dataDirectory)]) if (owner !== undefined && owner.uid !== 0) return owner;
  for (const name of UNPRIVILEGED_USERS) {
    const owner = lookUp(name);
    if (owner !== undefined) return owner;
  }
  throw embeddedFault(
    `root can't run PostgreSQL and there is no user postgres or nobody; run as another user, ${INSTEAD}`,
  );
}

/** Asks the kernel whether that user passes the test(1) expression on the path: `-x` enter or execute, `-r` read. */
export function canReach(owner: ClusterOwner, test: '-x' | '-r', path: string): boolean {
  return succeeds('/bin/sh', ['-c', `test ${test} "$1"`, 'sh', path], owner);
}

/** True when the command ends with 0 as that user. */
export function succeeds(command: string, args: string[], owner: ClusterOwner): boolean {
  try {
    execFileSync(command, args, { ...owner, cwd: '/', env: { LC_ALL: 'C' }, stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function ownerOf(path: string): ClusterOwner | undefined {
  try {
    const { uid, gid } = statSync(path);
    return { uid, gid };
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function lookUp(name: string): ClusterOwner | undefined {
  try {
    const id = (kind: string) =>
      Number.parseInt(
        execFileSync('/usr/bin/id', [kind, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
        10,
      );
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    return undefined;
  }
}
