import knex, { type Knex } from 'knex';
import pg from 'pg';
import type { Logger } from '../telemetry/index.ts';
import { CONNECT_TIMEOUT_MS } from './connect-timeout.ts';
import { watchPool } from './pool-end.ts';
import { refuseStandby } from './primary.ts';
import { createSilenceGuard } from './silent-connections.ts';

/** `knex` for everything; `pool` for the hand-written SQL of the token store. Both are separate sets of connections. */
export type Database = Readonly<{ knex: Knex; pool: pg.Pool; url: string; close(): Promise<void> }>;

/**
 * A statement that takes longer is ended by PostgreSQL, so that a stuck one can't hold a connection for ever. The longest
 * of ours, a batch of a revocation or a sweep, takes a fraction of a second.
 */
const STATEMENT_TIMEOUT_MS = 4_000;
/**
 * A database that is silent, frozen or behind a network that drops packets, can't end a statement: then we give up on it,
 * and on the connection. Callers have their answer, 503, before their own patience ends (often 10 s).
 */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 1_000;
/** How long a query may wait for a free connection before its request is answered with 503; `pg.Pool` takes the same. */
const ACQUIRE_TIMEOUT_MS = CONNECT_TIMEOUT_MS;

/**
 * Opens the connection pools; no connection is made before the first query.
 *
 * @param poolSize connections at the most, shared out between the two pools
 * @param answerTimeoutMs how long an answer is waited for, in milliseconds
 */
export function openDatabase(options: {
  url: string;
  poolSize: number;
  logger: Logger;
  answerTimeoutMs?: number;
}): Database {
  const connection = {
    connectionString: options.url,
    application_name: 'tessera',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS,
    keepAlive: true,
  };
  const hotSize = Math.max(1, Math.ceil(options.poolSize / 2));
  const pool = new pg.Pool({ ...connection, max: hotSize, onConnect: refuseStandby });
  // It is replaced by the next query.
  const watched = watchPool(pool, (error) =>
    options.logger.warn({ code: errorCode(error) }, 'an idle database connection was lost'),
  );
  const silence = createSilenceGuard();
  const builder = knex({
    client: 'pg',
    connection,
    pool: { min: 0, max: Math.max(1, options.poolSize - hotSize), afterCreate: silence.afterCreate },
    acquireConnectionTimeout: ACQUIRE_TIMEOUT_MS,
    // Messages of errors are logged, and values may be secrets: they show the statement with its placeholders.
    compileSqlOnError: false,
    log: { warn: (message: unknown) => options.logger.debug({ message }, 'knex') },
  });
  silence.watch({ pool, builder });
  return Object.freeze({
    knex: builder,
    pool,
    url: options.url,
    async close() {
      await Promise.all([builder.destroy(), watched.end()]);
    },
  });
}

function errorCode(error: Error & { code?: unknown }): string | undefined {
  return typeof error.code === 'string' ? error.code : undefined;
}
