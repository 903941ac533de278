import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { AppError } from '../errors.ts';

/** True for root, who must neither run PostgreSQL nor leave files behind that the folder's owner can't read. */
export const isRoot = process.getuid?.() === 0;

/** Makes DATA_DIR. Root lets others pass through (not list) it, because its PostgreSQL runs as an unprivileged user. */
export function ensureDataDirectory(path: string): void {
  if (existsSync(path)) return;
  mkdirSync(dirname(path), { recursive: true });
  mkdirSync(path, { recursive: true, mode: isRoot ? 0o711 : 0o700 });
}

/** Makes a folder that only the owner of its parent may use. */
export function ensurePrivateFolder(path: string): void {
  if (mkdirSync(path, { recursive: true, mode: 0o700 }) === undefined || !isRoot) return;
  const { uid, gid } = statSync(dirname(path));
  lchownSync(path, uid, gid);
}

/** Writes a file of mode 600 at once and durably: a reader sees the old content or the new, also after a power cut. */
export function writePrivateFile(path: string, content: string): void {
  const draft = writeDraft(path, content);
  try {
    renameSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
  syncFolder(dirname(path));
}

/**
 * The same for a file that must not be there yet. File systems without hard links make it in place: for a moment a reader
 * may see it empty.
 *
 * @returns false where there is one already, which stays as it is
 */
export function createPrivateFile(path: string, content: string): boolean {
  const draft = writeDraft(path, content);
  try {
    if (!linkOrReplace(draft, path)) return false;
  } finally {
    rmSync(draft, { force: true });
  }
  syncFolder(dirname(path));
  return true;
}

function linkOrReplace(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
  } catch (error) {
    if (isThere(error)) return false;
    try {
      writeFileSync(path, '', { flag: 'wx', mode: 0o600 });
    } catch (again) {
      if (isThere(again)) return false;
      throw again;
    }
    renameSync(draft, path);
  }
  return true;
}

function isThere(error: unknown): boolean {
  return hasCode(error, 'EEXIST');
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && codes.includes(String(error.code));
}

function writeDraft(path: string, content: string): string {
  const draft = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeFileSync(file, content);
    fsyncSync(file);
    ownLikeFolder(file, dirname(path));
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
  return draft;
}

/** Makes a rename or a new file inside the folder durable. Windows has no such call for folders. */
export function syncFolder(path: string): void {
  if (process.platform === 'win32') return;
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Opens a log of mode 600 for appending; one that has grown past `limitBytes` is put aside first. */
export function openPrivateLog(path: string, limitBytes = Number.POSITIVE_INFINITY): number {
  if (existsSync(path) && statSync(path).size > limitBytes) renameSync(path, `${path}.old`);
  const { O_APPEND, O_CREAT, O_RDWR } = constants;
  const log = openPlainFile(path, O_APPEND | O_CREAT | O_RDWR);
  fchmodSync(log, 0o600);
  ownLikeFolder(log, dirname(path));
  return log;
}

/**
 * Opens a file in a folder that may be somebody else's, whom root must not be led by to any other file of the machine, to
 * read it, write to it or give it away: no link is followed, no pipe is waited for and, for root, it has no second name.
 *
 * @param flags as of open(2); absent, to read
 * @throws AppError where it is no such file; the error of the file system otherwise
 */
export function openPlainFile(path: string, flags: number = constants.O_RDONLY): number {
  return openRegular(path, flags, isRoot);
}

/** What such a file holds. A claim has two names while it is made, so that a second one is no reason to refuse here. */
export function readPlainFile(path: string): string {
  const file = openRegular(path, constants.O_RDONLY, false);
  try {
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

function openRegular(path: string, flags: number, isAlone: boolean): number {
  // Windows knows neither.
  const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  let file: number;
  try {
    file = openSync(path, flags | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    // A link; a pipe that nobody reads, or a socket.
    throw hasCode(error, 'ELOOP', 'EMLINK', 'ENXIO') ? notPlain(path, error) : error;
  }
  const found = fstatSync(file);
  if (found.isFile() && (!isAlone || found.nlink === 1)) return file;
  closeSync(file);
  throw notPlain(path);
}

function notPlain(path: string, cause?: unknown): AppError {
  return new AppError({ code: 'configuration', message: `${path} must be a file, without links to or from it`, cause });
}

/** Root may run a command in a folder of someone else; what it leaves there must be that person's. */
function ownLikeFolder(file: number, folder: string): void {
  if (!isRoot) return;
  const { uid, gid } = statSync(folder);
  fchownSync(file, uid, gid);
}
