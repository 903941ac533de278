/**
 * One-off work, on pg-boss: durable before whoever asks goes on, done at least once, by one node, and tried again when it
 * fails.
 *
 * To ask: `await enqueue(trx, 'queue-name', payload)`. It inserts one row, by the caller's transaction or by the pool, and
 * throws where that fails: the request then fails, too. Any process may ask, commands as well. The payload is JSON and holds
 * nothing that grants access (a caller seals what does); what is found wanting at the time of the work, such as a client
 * that was deleted meanwhile, is no fault: the work is then done.
 *
 * To do: a `Work` in `composeJobs`. Its `run` resolves when the work is done or will never be, and throws to be called again,
 * after a pause that doubles (pg-boss: with jitter). After `attempts` the job is given up: a line in the log at level error,
 * `tessera_jobs_total{outcome="given_up"}`, and a row in the queue `given-up` of pg-boss for a week.
 */
import type { JobWithMetadata, PgBoss } from 'pg-boss';
import type { Logger } from '../telemetry/index.ts';
import { deleteFromOutbox, insertJob, readOutbox, type StatementRunner } from './outbox-store.ts';

/** Asks for work; see the top of this file. @throws the fault of the database */
export const enqueue = insertJob;

/** What is done with the jobs of one queue. */
export type Work = Readonly<{
  /** Of its queue, for the log and for metrics; never a caller's. */
  queue: string;
  /** How many are done at once by one node. */
  concurrency: number;
  /** How often it is tried in all. */
  attempts: number;
  /** Before the second attempt, between this and its double; each pause after it is twice as long, up to the longest. */
  firstPauseSeconds: number;
  longestPauseSeconds: number;
  /**
   * @param payload as it was asked for: by this version, or by another one
   * @param job.signal says that the node stops, or that the attempt has taken too long
   * @throws what makes the attempt fail. Its message is kept in the database and in the log: it holds no secret
   */
  run(payload: unknown, job: { id: string; signal: AbortSignal }): Promise<void>;
}>;

/** How many jobs ended since the start: `done`, `failed` attempts, and those `given_up`. */
export type JobCounts = ReadonlyMap<string, Readonly<Record<JobOutcome, number>>>;
type JobOutcome = 'done' | 'failed' | 'given_up';

export type QueueWorker = Readonly<{
  /** Makes the queues, and begins to work on them. May be called again when it failed. */
  start(): Promise<void>;
  /** Takes no more jobs over from the outbox. */
  stop(): void;
  counts(): JobCounts;
}>;

const GIVEN_UP = 'given-up';
const DAY_SECONDS = 86_400;
/** For whoever wants to know what was given up. */
const KEPT_GIVEN_UP_SECONDS = 7 * DAY_SECONDS;
/**
 * A job that is done is remembered for so long: one that another node takes over from the outbox at the same time is then
 * seen to be the same.
 */
const KEPT_DONE_SECONDS = 3_600;
/** One attempt may take so long before another one begins. */
const LONGEST_ATTEMPT_SECONDS = 120;
/** Without a sign of life for so long, a node is taken for dead, and another one does its job. */
const HEARTBEAT_SECONDS = 20;
/** How soon work begins that was asked for; one short query on an index for each look. */
const OUTBOX_PERIOD_MS = 500;
const OUTBOX_BATCH = 100;
/** For second attempts, as first ones are taken up at once: one loop of a queue looks often, the others help with a crowd. */
const POLL_SECONDS = 2;
const HELPERS_POLL_SECONDS = 15;

/**
 * @param options.pool that of `boss`
 * @param options.stopping aborted as the stop begins
 */
export function createQueueWorker(options: {
  boss: PgBoss;
  pool: StatementRunner;
  works: readonly Work[];
  logger: Logger;
  stopping: AbortSignal;
}): QueueWorker {
  const { boss, pool, works, logger, stopping } = options;
  const queues = works.map(({ queue }) => queue);
  const counts = new Map(queues.map((queue) => [queue, { done: 0, failed: 0, given_up: 0 }]));
  const workers = new Map<string, string[]>();
  let timer: NodeJS.Timeout | undefined;
  let isMoving = false;

  function count(queue: string, outcome: JobOutcome): void {
    const counted = counts.get(queue);
    if (counted !== undefined) counted[outcome] += 1;
  }

  async function makeQueues(): Promise<void> {
    await boss.createQueue(GIVEN_UP, { retryLimit: 0, deleteAfterSeconds: KEPT_GIVEN_UP_SECONDS });
    for (const work of works) {
      const settings = {
        retryLimit: work.attempts - 1,
        retryBackoff: true,
        retryDelay: work.firstPauseSeconds,
        retryDelayMax: work.longestPauseSeconds,
        expireInSeconds: LONGEST_ATTEMPT_SECONDS,
        heartbeatSeconds: HEARTBEAT_SECONDS,
        deleteAfterSeconds: KEPT_DONE_SECONDS,
        deadLetter: GIVEN_UP,
      };
      await boss.createQueue(work.queue, settings);
      // Made by another version, it is as that one wanted it.
      await boss.updateQueue(work.queue, settings);
    }
  }

  async function runJob({ queue, run }: Work, job: JobWithMetadata<unknown>): Promise<void> {
    try {
      await run(job.data, { id: job.id, signal: AbortSignal.any([job.signal, stopping]) });
    } catch (error) {
      count(queue, 'failed');
      const entry = { err: error, queue, job: job.id, attempt: job.retryCount + 1 };
      logger[stopping.aborted ? 'debug' : 'warn'](entry, 'a job failed; it is tried again while attempts are left');
      throw error;
    }
    count(queue, 'done');
  }

  function noteGivenUp({ sourceName, sourceId, sourceRetryCount, sourceOutput }: JobWithMetadata<unknown>): void {
    const queue = sourceName ?? GIVEN_UP;
    count(queue, 'given_up');
    const attempts = (sourceRetryCount ?? 0) + 1;
    logger.error({ queue, job: sourceId, attempts, reason: reasonIn(sourceOutput) }, 'a job was given up');
  }

  /** A loop for each job that may be in hand: pg-boss wakes loops by their ids alone. */
  async function work(queue: string, concurrency: number, handle: (job: JobWithMetadata<unknown>) => Promise<void>) {
    const loops = workers.get(queue) ?? [];
    workers.set(queue, loops);
    while (loops.length < concurrency) {
      const pollingIntervalSeconds = loops.length === 0 ? POLL_SECONDS : HELPERS_POLL_SECONDS;
      const loop = await boss.work(queue, { includeMetadata: true, pollingIntervalSeconds }, async (jobs) => {
        for (const job of jobs) await handle(job);
        // Where there was one, there may be more: it looks again at once.
        boss.notifyWorker(loop);
      });
      loops.push(loop);
    }
  }

  /** The job has the id of its row: moved twice, by two nodes or after a fault between the two steps, it is there once. */
  async function moveJobs(): Promise<void> {
    if (isMoving) return;
    isMoving = true;
    try {
      let count = OUTBOX_BATCH;
      while (count === OUTBOX_BATCH && !stopping.aborted) count = await moveBatch();
    } catch (error) {
      logger[stopping.aborted ? 'debug' : 'warn']({ err: error }, 'jobs could not be taken over; they are tried again');
    } finally {
      isMoving = false;
    }
  }

  async function moveBatch(): Promise<number> {
    const rows = await readOutbox(pool, { queues, limit: OUTBOX_BATCH });
    for (const [queue, jobs] of Map.groupBy(rows, (row) => row.queue)) {
      await boss.insert(
        queue,
        jobs.map(({ id, payload }) => ({ id, data: payload })),
      );
      for (const worker of workers.get(queue) ?? []) boss.notifyWorker(worker);
    }
    if (rows.length > 0) {
      await deleteFromOutbox(
        pool,
        rows.map(({ id }) => id),
      );
    }
    return rows.length;
  }

  return Object.freeze({
    async start() {
      if (works.length === 0) return;
      await makeQueues();
      await work(GIVEN_UP, 1, async (job) => noteGivenUp(job));
      for (const one of works) await work(one.queue, one.concurrency, (job) => runJob(one, job));
      if (stopping.aborted) return;
      await moveJobs();
      timer ??= setInterval(moveJobs, OUTBOX_PERIOD_MS).unref();
    },
    stop: () => clearInterval(timer),
    counts: () => counts,
  });
}

/** Of the last attempt. */
function reasonIn(output: object | null): string | undefined {
  const { message, value } = (output ?? {}) as { message?: unknown; value?: { message?: unknown } };
  const reason = message ?? value?.message;
  return typeof reason === 'string' ? reason : undefined;
}
