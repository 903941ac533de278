import type { PoolUse } from './metrics.ts';

/** The part of `pg.Pool` that tells its use. */
type CountedPool = { totalCount: number; idleCount: number; waitingCount: number };

/** The part of knex that tells the use of its pool; `client` is untyped there, and its pool is `tarn`'s. */
type PooledBuilder = {
  client: { pool?: { numUsed(): number; numFree(): number; numPendingAcquires(): number } };
};

/** The use of a `pg.Pool`, for `Metrics.watchPool`. */
export function pgPoolUse(pool: CountedPool): PoolUse {
  return { total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount };
}

/** The use of knex's own pool, for `Metrics.watchPool`; all zero once it was destroyed. */
export function knexPoolUse(builder: PooledBuilder): PoolUse {
  const { pool } = builder.client;
  if (pool === undefined) return { total: 0, idle: 0, waiting: 0 };
  return { total: pool.numUsed() + pool.numFree(), idle: pool.numFree(), waiting: pool.numPendingAcquires() };
}
