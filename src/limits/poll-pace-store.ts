import type pg from 'pg';
import { ATTEMPTS_TABLE } from './attempts-store.ts';

/**
 * Takes the one poll of this moment, by the clock of the database: of any number at once, on any nodes, one gets it.
 *
 * @param poll.key a pseudonym, which says what is polled to nobody
 * @param poll.paceMilliseconds until the next one may
 * @returns whether it was free
 * @throws the database's own error while it is away
 */
export async function takePoll(
  pool: Pick<pg.Pool, 'query'>,
  { key, paceMilliseconds }: { key: string; paceMilliseconds: number },
): Promise<boolean> {
  const now = '(extract(epoch from clock_timestamp()) * 1000)::bigint';
  const { rowCount } = await pool.query(
    `insert into ${ATTEMPTS_TABLE} as a (key, points, expire) values ($1, 1, ${now} + $2)
     on conflict (key) do update set expire = excluded.expire where a.expire <= ${now}`,
    [key, paceMilliseconds],
  );
  return rowCount === 1;
}
