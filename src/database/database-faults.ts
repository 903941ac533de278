import { types } from 'node:util';
import { reasonOf } from '../errors.ts';

/** Node's codes for a peer that is not there (any more). */
const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'EAI_AGAIN',
]);

/**
 * SQLSTATE classes in which the database, not the statement, is at fault (PostgreSQL manual, appendix A): connection
 * exceptions, refused log-ins, insufficient resources (disk full), operator intervention (shutdown, statement timeout),
 * system errors; a transaction that had to give way to others (40) or waited in vain for a lock (55P03), which may have
 * its way next time; a database that is gone or takes no connections; and the read-only transaction that a primary turned
 * standby answers with.
 */
const UNAVAILABLE_SQLSTATE = /^(08|28|40|53|57|58)|^(25006|3D000|55000|55P03)$/;

/** Messages of `pg` and `knex` that bear no code. */
const UNAVAILABLE_MESSAGE =
  /connection terminated|query read timeout|timeout exceeded when trying to connect|timeout acquiring a connection|connection error and is not queryable|client was closed and is not queryable|client has encountered a connection error|pool is (draining|destroyed)|after calling end on the pool/i;

/** Whether an answer did not come in time: on that connection none will come to what is asked next either. */
export function isSilence(error: unknown): error is Error {
  return types.isNativeError(error) && /query read timeout/i.test(error.message);
}

/** Whether an error says that the database could not be asked, so that the honest answer is 503 and never a verdict. */
export function isDatabaseUnavailable(error: unknown): boolean {
  // Not `instanceof`: an error of the network may come from another realm than the one that asks, as it does under Jest.
  if (!types.isNativeError(error)) return false;
  if ('errors' in error && Array.isArray(error.errors) && error.errors.some(isDatabaseUnavailable)) return true;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'database_unavailable' || NETWORK_CODES.has(code)) return true;
  if (code.length === 5 && UNAVAILABLE_SQLSTATE.test(code)) return true;
  return UNAVAILABLE_MESSAGE.test(error.message) || isDatabaseUnavailable(error.cause);
}

/** Whether PostgreSQL itself answered, and says best what it lacks: the right password, such a database, room. */
export function isDatabaseRefusal(error: unknown): error is Error {
  return types.isNativeError(error) && 'severity' in error;
}

/** Why the database could not be used, in one sentence for a person who can mend it. */
export function describeDatabaseFault(error: unknown): string {
  return isDatabaseRefusal(error)
    ? `the database refused: ${error.message}`
    : `the database can't be reached (${reasonOf(error)}): check DATABASE_URL`;
}
