import type pg from 'pg';
import { AppError } from '../errors.ts';

/**
 * To be asked on every new connection. A standby is behind its primary, if only by a moment: a token that was just revoked
 * would be called active. One that is promoted later keeps its connections, and may; a primary becomes a standby by a
 * restart alone, which ends them.
 *
 * @throws {AppError} `database_unavailable`
 */
export async function refuseStandby(connection: pg.ClientBase): Promise<void> {
  const { rows } = await connection.query<{ is_standby: boolean }>('select pg_is_in_recovery() as is_standby');
  if (rows[0]?.is_standby !== true) return;
  throw new AppError({ code: 'database_unavailable', message: 'the database is a standby, and not the primary' });
}
