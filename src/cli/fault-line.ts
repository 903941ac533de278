import { types } from 'node:util';
import { isDatabaseUnavailable } from '../database/index.ts';
import { AppError } from '../errors.ts';

/** What went wrong, in one line that a person can act on. */
export function toFaultLine(error: unknown): string {
  if (error instanceof AppError) return oneLine(error.message);
  // PostgreSQL itself answered, and says best what it lacks: the right password, such a database, room.
  if (types.isNativeError(error) && 'severity' in error) return `the database refused: ${oneLine(error.message)}`;
  if (isDatabaseUnavailable(error)) return `the database can't be reached (${reasonOf(error)}): check DATABASE_URL`;
  return `unexpected: ${reasonOf(error)}`;
}

/** Line ends become separators, so that several faults stay apart. */
export function oneLine(text: string): string {
  return text
    .trim()
    .replace(/(?<=[.;:,])\s*\n\s*|\s*\n\s*(?=\()/g, ' ')
    .replace(/\s*\n\s*/g, '; ');
}

/** Errors of a connection that was tried at several addresses have no message of their own, only a code. */
function reasonOf(error: unknown): string {
  if (!types.isNativeError(error)) return oneLine(String(error));
  if (error.message !== '') return oneLine(error.message);
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
