import type pg from 'pg';
import type { Logger } from '../telemetry/index.ts';

export const ATTEMPTS_TABLE = 'sign_in_attempts';

/** The part of a PostgreSQL client that rate-limiter-flexible uses. */
export type AttemptsClient = Readonly<{
  query(statement: { text: string; values?: unknown[] }): Promise<pg.QueryResult>;
}>;

/**
 * Runs the statements of rate-limiter-flexible without the names it gives them: prepared statements don't survive a pooler
 * in transaction mode. Says in the log, once, when counting falls back to the memory of this process, and when it is back.
 */
export function createAttemptsClient(pool: Pick<pg.Pool, 'query'>, logger: Logger): AttemptsClient {
  let isAway = false;
  return Object.freeze({
    async query({ text, values = [] }) {
      try {
        const result = await pool.query(text, values);
        if (isAway) logger.info('attempts are counted in the database again');
        isAway = false;
        return result;
      } catch (error) {
        if (!isAway) logger.warn({ err: error }, 'attempts are counted in memory: the database is away');
        isAway = true;
        throw error;
      }
    },
  });
}

/**
 * Removes counters whose window has passed; one that is being counted up right now is left to the next sweep.
 *
 * @param batch.before epoch milliseconds
 * @returns how many were removed, at most `batch.size`
 */
export async function deleteExpired(
  pool: Pick<pg.Pool, 'query'>,
  batch: { size: number; before: number },
): Promise<number> {
  const result = await pool.query(
    `delete from ${ATTEMPTS_TABLE} where key in (
       select key from ${ATTEMPTS_TABLE} where expire < $1 order by expire limit $2 for update skip locked
     )`,
    [batch.before, batch.size],
  );
  return result.rowCount ?? 0;
}
