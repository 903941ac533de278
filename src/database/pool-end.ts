import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';

/** A good-bye that a silent network swallows must not hold up the end. */
const END_LIMIT_MS = 1_000;

/**
 * Looks after a pool's connections that nobody uses. `pg.Pool` has ended when it has said good-bye on each, which the server may
 * not have heard: one that is stopped next would answer on each that it was terminated.
 *
 * @param onLoss hears of those that are lost while the pool is wanted; without it the loss would end the process
 * @returns `end`: resolves when all connections are gone, after a second at the latest
 */
export function watchPool(pool: pg.Pool, onLoss: (error: Error) => void): Readonly<{ end(): Promise<void> }> {
  const open = new Set<pg.PoolClient>();
  const gone = Promise.withResolvers<void>();
  let isEnding = false;
  pool.on('error', (error) => {
    if (!isEnding) onLoss(error);
  });
  pool.on('connect', (connection) => open.add(connection));
  pool.on('remove', (connection) => {
    open.delete(connection);
    if (isEnding && open.size === 0) gone.resolve();
  });
  return Object.freeze({
    async end() {
      isEnding = true;
      await pool.end();
      if (open.size > 0) await Promise.race([gone.promise, delay(END_LIMIT_MS, undefined, { ref: false })]);
    },
  });
}
