import { setTimeout as delay } from 'node:timers/promises';
import { PgBoss } from 'pg-boss';
import type { Logger } from '../telemetry/index.ts';
import { sweepInBatches } from './sweep-in-batches.ts';

export type Jobs = Readonly<{
  /** Resolves when the work is under way, or when `stop` was called first. Waits for a database that is away. */
  start(): Promise<void>;
  /** Ends after the batch in hand, within three seconds; what was left over is done by the next run. */
  stop(): Promise<void>;
}>;

const SCHEMA = 'pgboss';
const SWEEP = 'sweep-expired';

/** One for the job in hand, one for the looks at the queue beside it. */
const POOL_SIZE = 2;
/** A handshake takes milliseconds; leaves time for one packet lost. */
const CONNECT_TIMEOUT_MS = 3_000;
/** Between attempts to begin while the database is away: nobody waits for a sweep. */
const RETRY_DELAY_MS = 2_000;
/** What pg-boss may take to finish the work in hand, and when we stop waiting for pg-boss itself. */
const GRACE_MS = 2_000;
const STOP_LIMIT_MS = 3_000;

const MS_PER_SECOND = 1_000;
const HOUR_SECONDS = 3_600;
/** Without a sign of life for so long, a node that ran the job is taken for dead, and another may run it. */
const HEARTBEAT_SECONDS = 30;
/** pg-boss is told of work that this node asks for; a look every half minute finds what another one left behind. */
const MAX_POLL_SECONDS = 30;

/**
 * The part of its interval that a run may take: it is bounded by time and not by a number of batches, which a busy
 * server's tokens would outrun. What is left over after it is the next one's.
 */
const RUN_SHARE = 0.8;
/** pg-boss fails a job after a quarter of an hour. */
const LONGEST_RUN_SECONDS = 600;

/** Rows of one kind that expire. */
export type Sweep = Readonly<{
  /** What is removed, for the log. */
  name: string;
  /** Removes up to `batchSize` expired rows. @returns how many; fewer: there are no more */
  sweep(batchSize: number): Promise<number>;
}>;

/**
 * How often a node asks for a sweep. Timers of Node overflow after 24 days and then fire all the time; a request that
 * comes early is one too many for its interval and is dropped.
 */
export function requestPeriodMs(intervalSeconds: number): number {
  return Math.min(intervalSeconds, HOUR_SECONDS) * MS_PER_SECOND;
}

/** How long one run may go on with one kind of rows, so that a backlog of one leaves time for the others. */
export function sweepLimitMs(intervalSeconds: number, sweeps: number): number {
  const runMs = Math.min(intervalSeconds * RUN_SHARE, LONGEST_RUN_SECONDS) * MS_PER_SECOND;
  return Math.floor(runMs / Math.max(1, sweeps));
}

/**
 * The scheduled work of this server. Every node asks for a sweep at each interval; pg-boss takes one request per interval
 * from all nodes together (`singletonSeconds`) and lets one node at a time run it (queue policy `exclusive`). Its cron
 * is not used: cron knows whole minutes only.
 *
 * @param databaseUrl a direct connection, as the schema `pgboss` is made and upgraded at the start
 * @param options.sweeps done one after the other; one that fails keeps none of the others from being done
 */
export function createJobs(options: {
  databaseUrl: string;
  logger: Logger;
  sweep: { intervalSeconds: number; batchSize: number };
  sweeps: readonly Sweep[];
}): Jobs {
  const { logger, sweep } = options;
  const stopping = new AbortController();
  const boss = new PgBoss({
    connectionString: options.databaseUrl,
    schema: SCHEMA,
    max: POOL_SIZE,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'tessera jobs',
    schedule: false,
    registerInstance: false,
  });
  // Without a listener an outage of the database would end the process; pg-boss goes on by itself when it is over.
  boss.on('error', (error) => logger.warn({ err: error }, 'scheduled work met a fault'));
  let timer: NodeJS.Timeout | undefined;
  let started: Promise<void> | undefined;
  let stopped: Promise<void> | undefined;

  async function setUp(): Promise<void> {
    await boss.start();
    await boss.createQueue(SWEEP, {
      policy: 'exclusive',
      // The next interval is the retry.
      retryLimit: 0,
      heartbeatSeconds: HEARTBEAT_SECONDS,
      // What has run must be remembered as long as its interval lasts, or that would get a second run.
      deleteAfterSeconds: Math.max(HOUR_SECONDS, 2 * sweep.intervalSeconds),
    });
    if (stopping.signal.aborted) return;
    const worker = await boss.work(
      SWEEP,
      { pollingIntervalSeconds: Math.min(sweep.intervalSeconds, MAX_POLL_SECONDS) },
      runSweeps,
    );
    const request = () =>
      boss
        .send(SWEEP, {}, { singletonSeconds: sweep.intervalSeconds })
        .then((id) => id !== null && boss.notifyWorker(worker))
        .catch((error: unknown) => logger.warn({ err: error }, 'a sweep could not be asked for'));
    timer = setInterval(request, requestPeriodMs(sweep.intervalSeconds));
    timer.unref();
    await request();
  }

  async function runSweeps(): Promise<void> {
    const faults: unknown[] = [];
    const limitMs = sweepLimitMs(sweep.intervalSeconds, options.sweeps.length);
    for (const { name, sweep: remove } of options.sweeps) {
      try {
        const { batchSize } = sweep;
        const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(limitMs)]);
        const removed = await sweepInBatches({ batchSize, sweep: remove, signal });
        if (removed > 0) logger.info({ sweep: name, removed }, 'what had expired was removed');
      } catch (error) {
        logger.warn({ sweep: name, err: error }, 'a sweep failed; the next one goes on');
        faults.push(error);
      }
    }
    // pg-boss shall know that this run did not do all of its work.
    if (faults.length > 0) throw faults[0];
  }

  async function startUntilItWorks(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        return await setUp();
      } catch (error) {
        if (stopping.signal.aborted) return;
        logger.warn({ err: error }, 'scheduled work could not be started; it is tried again');
        await delay(RETRY_DELAY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
  }

  async function stopNow(): Promise<void> {
    stopping.abort();
    clearInterval(timer);
    const limit = new AbortController();
    const ended = (async () => {
      await started;
      clearInterval(timer);
      await boss.stop({ graceful: true, timeout: GRACE_MS });
    })().catch((error: unknown) => logger.warn({ err: error }, 'scheduled work did not end cleanly'));
    await Promise.race([ended, delay(STOP_LIMIT_MS, undefined, { signal: limit.signal }).catch(() => undefined)]);
    limit.abort();
  }

  return Object.freeze({
    start() {
      started ??= startUntilItWorks();
      return started;
    },
    stop() {
      stopped ??= stopNow();
      return stopped;
    },
  });
}
