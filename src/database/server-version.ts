import { types } from 'node:util';
import type { Knex } from 'knex';
import { AppError } from '../errors.ts';

/** The oldest major version that is tested and still maintained. */
const OLDEST_MAJOR_VERSION = 15;

/**
 * The first statement of a start: what hinders it, hinders all.
 *
 * @throws {AppError} `database_unavailable` where the server at DATABASE_URL does not answer or refuses, `configuration`
 *   where it is too old
 */
export async function assertSupportedServer(knex: Knex): Promise<void> {
  const major = Math.floor((await serverVersion(knex)) / 10_000);
  if (major >= OLDEST_MAJOR_VERSION) return;
  throw new AppError({
    code: 'configuration',
    message: `DATABASE_URL wants PostgreSQL ${OLDEST_MAJOR_VERSION} or newer: this one is ${major}`,
  });
}

/** 180004 for 18.4. */
async function serverVersion(knex: Knex): Promise<number> {
  try {
    const { rows } = await knex.raw<{ rows: { server_version_num: string }[] }>('show server_version_num');
    return Number(rows[0]?.server_version_num);
  } catch (cause) {
    // What PostgreSQL itself says, such as a wrong password or a database that does not exist, bears a severity.
    const isRefusal = types.isNativeError(cause) && 'severity' in cause;
    const message = isRefusal
      ? `the database refused: ${cause.message}`
      : `the database can't be reached (${reasonOf(cause)}): check DATABASE_URL`;
    throw new AppError({ code: 'database_unavailable', message, cause });
  }
}

/** Errors of a connection that was tried at several addresses have no message of their own, only a code. */
function reasonOf(error: unknown): string {
  if (!types.isNativeError(error)) return String(error);
  return error.message || ('code' in error ? String(error.code) : error.name);
}
