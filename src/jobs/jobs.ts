import { setTimeout as delay } from 'node:timers/promises';
import { PgBoss } from 'pg-boss';
import { openWorkPool } from '../database/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createQueueWorker, type JobCounts, type Work } from './queue.ts';

export type Jobs = Readonly<{
  /** Resolves when the work is under way, or when `stop` was called first. Waits for a database that is away. */
  start(): Promise<void>;
  /** Ends the work in hand, within three seconds; what was left over is done by the next run. */
  stop(): Promise<void>;
  /** Of the one-off work since the start. */
  counts(): JobCounts;
}>;

const SCHEMA = 'pgboss';

/** One for the job in hand, one for the looks at the queues beside it. */
const POOL_SIZE = 2;
/** Between attempts to begin while the database is away: nobody waits for scheduled work. */
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
/** How often it is looked for jobs whose node has died. */
const RECOVERY_SECONDS = 20;

/** Work that is done again and again, by one node at a time. */
export type Task = Readonly<{
  /** Of its queue, and for the log. */
  name: string;
  intervalSeconds: number;
  /** @param signal ends what takes long, at the stop. What is thrown is logged; the next interval is the retry */
  run(signal: AbortSignal): Promise<void>;
}>;

/**
 * How often a node asks for a task. Timers of Node overflow after 24 days and then fire all the time; a request that
 * comes early is one too many for its interval and is dropped.
 */
export function requestPeriodMs(intervalSeconds: number): number {
  return Math.min(intervalSeconds, HOUR_SECONDS) * MS_PER_SECOND;
}

/**
 * The work of this server that nobody waits for: tasks, and jobs that someone asks for once (queue.ts). Every node asks for each task at each of its intervals; pg-boss takes one request per
 * interval from all nodes together (`singletonSeconds`) and lets one node at a time run it (queue policy `exclusive`).
 * Its cron is not used: cron knows whole minutes only.
 *
 * @param databaseUrl a direct connection, as the schema `pgboss` is made and upgraded at the start
 * @param options.answerTimeoutMs how long the database may leave a question of pg-boss unanswered
 * @param options.recoverySeconds how often it is looked for jobs whose node has died
 */
export function createJobs(options: {
  databaseUrl: string;
  logger: Logger;
  tasks: readonly Task[];
  works?: readonly Work[];
  answerTimeoutMs?: number;
  recoverySeconds?: number;
}): Jobs {
  const { logger, tasks, works = [], recoverySeconds = RECOVERY_SECONDS } = options;
  const stopping = new AbortController();
  // Without a listener an outage of the database would end the process; pg-boss goes on by itself when it is over.
  const onFault = (error: Error) => warn({ err: error }, 'scheduled work met a fault');
  // Not pg-boss's own pool, which waits for an answer for ever.
  const pool = openWorkPool({
    url: options.databaseUrl,
    size: POOL_SIZE,
    applicationName: 'tessera jobs',
    onFault,
    ...(options.answerTimeoutMs !== undefined && { answerTimeoutMs: options.answerTimeoutMs }),
  });
  const boss = new PgBoss({
    db: pool,
    schema: SCHEMA,
    schedule: false,
    registerInstance: false,
    superviseIntervalSeconds: recoverySeconds,
    monitorIntervalSeconds: recoverySeconds,
  });
  boss.on('error', onFault);
  const queue = createQueueWorker({ boss, pool, works, logger, stopping: stopping.signal });
  const timers: NodeJS.Timeout[] = [];
  const scheduled = new Set<string>();
  let started: Promise<void> | undefined;
  let stopped: Promise<void> | undefined;

  /** Once the stop has begun, faults are its consequence. */
  function warn(entry: object, message: string): void {
    logger[stopping.signal.aborted ? 'debug' : 'warn'](entry, message);
  }

  async function setUp(): Promise<void> {
    await boss.start();
    for (const task of tasks) await createQueue(task);
    if (stopping.signal.aborted) return;
    for (const task of tasks) if (!scheduled.has(task.name)) await schedule(task);
    await queue.start();
  }

  async function createQueue({ name, intervalSeconds }: Task): Promise<void> {
    await boss.createQueue(name, {
      policy: 'exclusive',
      // The next interval is the retry.
      retryLimit: 0,
      heartbeatSeconds: HEARTBEAT_SECONDS,
      // What has run must be remembered as long as its interval lasts, or that would get a second run.
      deleteAfterSeconds: Math.max(HOUR_SECONDS, 2 * intervalSeconds),
    });
  }

  async function schedule({ name, intervalSeconds, run }: Task): Promise<void> {
    const pollingIntervalSeconds = Math.min(intervalSeconds, MAX_POLL_SECONDS);
    const worker = await boss.work(name, { pollingIntervalSeconds }, async () => {
      try {
        await run(stopping.signal);
      } catch (error) {
        warn({ err: error, task: name }, 'scheduled work failed; it is tried again after its interval');
        throw error;
      }
    });
    scheduled.add(name);
    const request = () =>
      boss
        .send(name, {}, { singletonSeconds: intervalSeconds })
        .then((id) => id !== null && boss.notifyWorker(worker))
        .catch((error: unknown) => warn({ err: error, task: name }, 'scheduled work could not be asked for'));
    const timer = setInterval(request, requestPeriodMs(intervalSeconds));
    timer.unref();
    timers.push(timer);
    await request();
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

  function clearTimers(): void {
    queue.stop();
    for (const timer of timers.splice(0)) clearInterval(timer);
  }

  async function stopNow(): Promise<void> {
    stopping.abort();
    clearTimers();
    const limit = new AbortController();
    const ended = (async () => {
      await started;
      clearTimers();
      await boss.stop({ graceful: true, timeout: GRACE_MS });
    })()
      .catch((error: unknown) => logger.warn({ err: error }, 'scheduled work did not end cleanly'))
      .then(() => pool.close());
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
    counts: queue.counts,
  });
}
