import type { Clock } from '../config/index.ts';
import type { StatementRunner } from './artifact-statements-store.ts';

/**
 * Removes rows that are past their retention: one bounded batch, oldest first. It waits for no lock and several nodes
 * may sweep at once; whoever calls repeats until fewer than `batchSize` were left to remove.
 *
 * @returns how many rows were removed
 */
export async function sweepExpiredArtifacts(options: {
  pool: StatementRunner;
  clock: Clock;
  batchSize: number;
}): Promise<number> {
  const { rowCount } = await options.pool.query({
    name: 'artifacts-sweep',
    text: `with expired as materialized (
             select id from artifacts where purge_at <= $1::timestamptz
             order by purge_at limit $2 for update skip locked)
           delete from artifacts where id = any(array(select id from expired))`,
    values: [new Date(options.clock()).toISOString(), options.batchSize],
  });
  return rowCount ?? 0;
}
