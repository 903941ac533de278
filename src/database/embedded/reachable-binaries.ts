import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { type Binaries, binariesAt, missingLinks } from './binaries.ts';
import { type ClusterOwner, canReach, succeeds } from './cluster-owner.ts';
import { PERSISTENT_PARENTS } from './cluster-place.ts';
import { embeddedFault, INSTEAD } from './embedded-fault.ts';

/**
 * Binaries that run: those of npm where they do for `owner` (undefined: the user of this process), after mending what an
 * installation without scripts leaves out (links and modes); else a copy, in a folder that nobody but the user of this
 * process can write to.
 *
 * @throws AppError when there is no place for a copy
 */
export function reachableBinaries(installed: Binaries, owner: ClusterOwner | undefined): Binaries {
  if (canRun(installed, owner)) return installed;
  if (mend(installed) && canRun(installed, owner)) return installed;
  const { postgres, version } = installed;
  const digest = createHash('sha256').update(readFileSync(postgres)).digest('hex').slice(0, 16);
  const parents = owner === undefined ? [tmpdir()] : PERSISTENT_PARENTS;
  for (const parent of parents) {
    const user = owner === undefined ? `-${process.getuid?.() ?? 'user'}` : '';
    const copy = binariesAt(join(parent, `tessera-postgres-${version}-${digest}${user}`), version);
    if (obtainCopy(installed.home, copy.home) && canRun(copy, owner)) return copy;
  }
  throw embeddedFault(
    `${installed.home} can't be run and there is no folder for a copy (tried ${parents.join(', ')}), ${INSTEAD}`,
  );
}

function canRun({ home, initdb, postgres }: Binaries, owner: ClusterOwner | undefined): boolean {
  if (missingLinks(home).length > 0) return false;
  if (owner !== undefined) {
    return (
      [postgres, initdb].every((program) => succeeds(program, ['--version'], owner)) &&
      canReach(owner, '-r', bootstrapFile(home))
    );
  }
  try {
    for (const program of [postgres, initdb]) accessSync(program, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function bootstrapFile(home: string): string {
  return join(home, 'share', 'postgresql', 'postgres.bki');
}

function mend({ home, initdb, postgres }: Binaries): boolean {
  try {
    for (const link of missingLinks(home)) symlinkSync(link.target, link.path);
    for (const program of [initdb, postgres]) {
      if ((lstatSync(program).mode & 0o111) === 0) chmodSync(program, 0o755);
    }
    return true;
  } catch {
    return false;
  }
}

/** True when a copy stands at `to` that this user made; made under another name first, so that it is whole or absent. */
function obtainCopy(from: string, to: string): boolean {
  if (isOurs(to)) return true;
  let draft: string | undefined;
  try {
    draft = mkdtempSync(`${to}-`);
    copyTree(from, draft);
    for (const link of missingLinks(draft)) symlinkSync(link.target, link.path);
    renameSync(draft, to);
  } catch {
    // Out of space, or another process was first: what stands there now decides.
    if (draft !== undefined) rmSync(draft, { recursive: true, force: true });
  }
  return isOurs(to);
}

/** A folder planted by someone else in a shared place must never be run from, least of all by root. */
function isOurs(path: string): boolean {
  try {
    const folder = lstatSync(path);
    if (process.platform === 'win32') return folder.isDirectory();
    return folder.isDirectory() && folder.uid === process.getuid?.() && (folder.mode & 0o022) === 0;
  } catch {
    return false;
  }
}

function copyTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  chmodSync(to, 0o755);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, copy] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) copyTree(source, copy);
    else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), copy);
    else if (extname(entry.name) !== '.a') {
      copyFileSync(source, copy);
      chmodSync(copy, 0o755);
    }
  }
}
