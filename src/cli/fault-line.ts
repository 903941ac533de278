import { describeDatabaseFault, isDatabaseRefusal, isDatabaseUnavailable } from '../database/index.ts';
import { AppError, reasonOf } from '../errors.ts';

/** What went wrong, in one line that a person can act on. */
export function toFaultLine(error: unknown): string {
  if (error instanceof AppError) return oneLine(error.message);
  if (isDatabaseRefusal(error) || isDatabaseUnavailable(error)) return oneLine(describeDatabaseFault(error));
  return `unexpected: ${oneLine(reasonOf(error))}`;
}

/** Line ends become separators, so that several faults stay apart. */
export function oneLine(text: string): string {
  return text
    .trim()
    .replace(/(?<=[.;:,])\s*\n\s*|\s*\n\s*(?=\()/g, ' ')
    .replace(/\s*\n\s*/g, '; ');
}
