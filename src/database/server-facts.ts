import type { Knex } from 'knex';
import { AppError } from '../errors.ts';
import type { Database } from './database.ts';
import { describeDatabaseFault } from './database-faults.ts';

/** The oldest major version that is tested and still maintained. */
const OLDEST_MAJOR_VERSION = 15;

/**
 * The first statement of a start: what hinders it, hinders all.
 *
 * @throws {AppError} `database_unavailable` where the server at DATABASE_URL does not answer or refuses, `configuration`
 *   where it is too old
 */
export async function assertSupportedServer(knex: Knex): Promise<void> {
  const major = Math.floor((await serverVersionNumber(knex)) / 10_000);
  if (major >= OLDEST_MAJOR_VERSION) return;
  throw new AppError({
    code: 'configuration',
    message: `DATABASE_URL wants PostgreSQL ${OLDEST_MAJOR_VERSION} or newer: this one is ${major}`,
  });
}

/** Resolves when the database answers. @throws what `pg` threw when it doesn't */
export async function ping(database: Pick<Database, 'pool'>): Promise<void> {
  await database.pool.query('select 1');
}

/**
 * Whether the database takes changes: it is neither a standby nor read-only. A pooler may lead a connection that was made
 * to a primary elsewhere later.
 *
 * @throws what `pg` threw when it doesn't answer
 */
export async function takesChanges(database: Pick<Database, 'pool'>): Promise<boolean> {
  const { rows } = await database.pool.query<{ takes_changes: boolean }>(
    `select not (pg_is_in_recovery() or current_setting('transaction_read_only')::boolean) as takes_changes`,
  );
  return rows[0]?.takes_changes === true;
}

/** The version as PostgreSQL words it, such as `18.4 (Debian 18.4-1)`. */
export async function serverVersion(knex: Knex): Promise<string> {
  const { rows } = await knex.raw<{ rows: { server_version: string }[] }>('show server_version');
  return rows[0]?.server_version ?? 'of an unknown version';
}

/** The time of the database, which all nodes share, whatever their own clocks say. @throws where it tells none */
export async function databaseTime(knex: Knex): Promise<Date> {
  const { rows } = await knex.raw<{ rows: { now: Date }[] }>('select clock_timestamp() as now');
  const [first] = rows;
  if (first === undefined) throw new Error('the database told no time');
  return first.now;
}

/** 180004 for 18.4. */
async function serverVersionNumber(knex: Knex): Promise<number> {
  try {
    const { rows } = await knex.raw<{ rows: { server_version_num: string }[] }>('show server_version_num');
    return Number(rows[0]?.server_version_num);
  } catch (cause) {
    throw new AppError({ code: 'database_unavailable', message: describeDatabaseFault(cause), cause });
  }
}
