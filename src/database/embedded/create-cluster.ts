import { spawn } from 'node:child_process';
import {
  closeSync,
  fchownSync,
  lchownSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readPlainFile, syncFolder } from '../private-files.ts';
import { type Binaries, majorVersion } from './binaries.ts';
import type { ClusterOwner } from './cluster-owner.ts';
import { DATABASE_NAME } from './cluster-record.ts';
import { cannotRunFault, embeddedFault, errorCode, folderFault, INSTEAD, outputFault } from './embedded-fault.ts';

/** The environment of PostgreSQL's programs: nothing of ours, which may hold secrets or PG* variables. */
export const POSTGRES_ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin' };

/** The builtin locale provider sorts the same on every machine and needs no locale of the system. */
const INITDB_SETTINGS = [
  `--username=${DATABASE_NAME}`,
  '--auth=scram-sha-256',
  '--encoding=UTF8',
  '--locale=C',
  '--locale-provider=builtin',
  '--builtin-locale=C.UTF-8',
];

/** The major version of the cluster at `cluster`; undefined where there is none. */
export function clusterVersion(cluster: string): number | undefined {
  try {
    return majorVersion(readPlainFile(join(cluster, 'PG_VERSION')));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw folderFault(cluster, error);
  }
}

/** @throws AppError when these binaries can't read a cluster of that version */
export function requireSameVersion(cluster: string, version: number, binaries: Binaries): void {
  if (version === majorVersion(binaries.version)) return;
  throw embeddedFault(
    `${cluster} was made by PostgreSQL ${version}, this is ${majorVersion(binaries.version)}; move DATA_DIR away to start afresh, ${INSTEAD}`,
  );
}

/**
 * Makes a cluster: under another name beside its place, synced to disk, then renamed. A crash half way leaves only a
 * draft, which the next attempt removes. Only the keeper may call this.
 */
export async function createCluster(options: {
  binaries: Binaries;
  cluster: string;
  owner: ClusterOwner | undefined;
  password: string;
}): Promise<void> {
  const { cluster, owner } = options;
  const parent = dirname(cluster);
  removeDrafts(parent, `${basename(cluster)}.new-`);
  try {
    const draft = mkdtempSync(`${cluster}.new-`);
    if (owner !== undefined) lchownSync(draft, owner.uid, owner.gid);
    const passwordFile = join(draft, 'password');
    writePasswordFile(passwordFile, options.password, owner);
    await runInitdb(options.binaries, draft, [`--pgdata=${join(draft, 'data')}`, `--pwfile=${passwordFile}`], owner);
    renameSync(join(draft, 'data'), cluster);
    syncFolder(parent);
  } catch (error) {
    throw folderFault(parent, error);
  } finally {
    removeDrafts(parent, `${basename(cluster)}.new-`);
  }
}

function writePasswordFile(path: string, password: string, owner: ClusterOwner | undefined): void {
  const file = openSync(path, 'wx', 0o600);
  try {
    writeFileSync(file, `${password}\n`);
    if (owner !== undefined) fchownSync(file, owner.uid, owner.gid);
  } finally {
    closeSync(file);
  }
}

/** An `initdb` whose keeper was killed may still write to its draft; what can't be removed now goes at the next start. */
function removeDrafts(parent: string, prefix: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(prefix)) continue;
    try {
      rmSync(join(parent, name), { recursive: true, force: true });
    } catch {}
  }
}

async function runInitdb(
  binaries: Binaries,
  cwd: string,
  args: string[],
  owner: ClusterOwner | undefined,
): Promise<void> {
  const child = spawn(binaries.initdb, [...INITDB_SETTINGS, ...args], {
    ...owner,
    cwd,
    env: POSTGRES_ENVIRONMENT,
    stdio: ['ignore', 'ignore', 'pipe'],
    windowsHide: true,
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
  });
  const status = await new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    child.on('error', (cause) => reject(cannotRunFault(binaries.initdb, cause)));
    child.on('close', (code, signal) => resolve(code ?? signal));
  });
  if (status !== 0) throw outputFault(`initdb failed (${status})`, output, dirname(cwd));
}
