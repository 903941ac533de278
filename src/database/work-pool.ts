import pg from 'pg';
import { CONNECT_TIMEOUT_MS } from './connect-timeout.ts';
import { watchPool } from './pool-end.ts';
import { refuseStandby } from './primary.ts';

/**
 * Scheduled work may take its time: it makes tables and clears whole queues. What takes longer than this has no answer
 * to come: the network dropped it without a word, and the work would wait for it for ever.
 */
const ANSWER_TIMEOUT_MS = 60_000;

/** Connections for work that nobody waits for, apart from those of requests. */
export type WorkPool = Readonly<{
  executeSql(text: string, values?: unknown[]): Promise<pg.QueryResult>;
  /** Resolves when no connection is left. */
  close(): Promise<void>;
}>;

/**
 * Opens a pool; no connection is made before the first query.
 *
 * @param options.onFault hears of connections that are lost while nobody uses them
 * @param options.answerTimeoutMs how long an answer is waited for, in milliseconds; afterwards the connection is given up
 */
export function openWorkPool(options: {
  url: string;
  size: number;
  applicationName: string;
  onFault(error: Error): void;
  answerTimeoutMs?: number;
}): WorkPool {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.size,
    application_name: options.applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS,
    keepAlive: true,
    onConnect: refuseStandby,
  });
  const watched = watchPool(pool, options.onFault);
  return Object.freeze({
    executeSql: (text: string, values?: unknown[]) => pool.query(text, values),
    close: watched.end,
  });
}
