import type { Clock } from '../config/index.ts';
import type { StatementRunner } from './artifact-statements-store.ts';

/**
 * Removes rows that are past their retention: one bounded batch, oldest first. It waits for no lock and several nodes
 * may sweep at once; whoever calls repeats until fewer than `batchSize` were left to remove. Rows are named by their
 * place, which the lock keeps them at: looking each up by its id again costs three times as much (docs/performance.md).
 * Whether it is due is asked of the very row that is deleted, so that no place ever stands for another row.
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
             select ctid from artifacts where purge_at <= $1::timestamptz
             order by purge_at limit $2 for update skip locked)
           delete from artifacts where ctid = any(array(select ctid from expired)) and purge_at <= $1::timestamptz`,
    values: [new Date(options.clock()).toISOString(), options.batchSize],
  });
  return rowCount ?? 0;
}
