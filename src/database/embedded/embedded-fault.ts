import { AppError } from '../../errors.ts';

/** What a person may do who can't or won't use the embedded database. */
export const INSTEAD = 'or set DATABASE_URL to a PostgreSQL 15 or newer';

/** A fault of the embedded PostgreSQL, in one line that says what to do. */
export function embeddedFault(message: string, cause?: unknown): AppError {
  return new AppError({ code: 'database_unavailable', message: `Embedded PostgreSQL: ${message}`, cause });
}

/** Turns what the file system answered about `path` into a fault that names the folder and the remedy. */
export function folderFault(path: string, cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  switch (errorCode(cause)) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return embeddedFault(
        `${path} can't be written by this user; set DATA_DIR to a folder that can, ${INSTEAD}`,
        cause,
      );
    case 'ENOSPC':
    case 'EDQUOT':
      return embeddedFault(`the disk that holds ${path} is full; free some space`, cause);
    case 'ENOTDIR':
    case 'EEXIST':
      return embeddedFault(`${path} is not a folder; set DATA_DIR to one, ${INSTEAD}`, cause);
    default:
      return embeddedFault(`${path} can't be used: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
}

/** The fault behind what `initdb` or `postgres` printed before it gave up. */
export function outputFault(what: string, output: string, path: string): AppError {
  if (/No space left on device|Check free disk space|Disk quota exceeded/i.test(output))
    return folderFault(path, diskFull);
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  // The first complaint is the cause; what follows it are consequences.
  const reason = lines.find((line) => /\b(error|fatal|panic):/i.test(line)) ?? lines.at(-1);
  return embeddedFault(`${what}: ${(reason ?? 'it ended without saying why').trim()}`);
}

/** The system wouldn't run a program: the wrong C library (Alpine), or a disk mounted `noexec`. */
export function cannotRunFault(program: string, cause: unknown): AppError {
  return embeddedFault(`${program} can't be run on this system, set DATABASE_URL to a PostgreSQL 15 or newer`, cause);
}

const diskFull = Object.assign(new Error('No space left on device'), { code: 'ENOSPC' });

/** The `code` of a system error, such as `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  const isObject = typeof error === 'object' && error !== null;
  return isObject && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
