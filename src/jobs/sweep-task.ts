import type { Logger } from '../telemetry/index.ts';
import type { Task } from './jobs.ts';
import { type Pace, realPace, sweepInBatches } from './sweep-in-batches.ts';

/** Rows of one kind that expire. */
export type Sweep = Readonly<{
  /** What is removed, for the log. */
  name: string;
  /** Removes up to `batchSize` expired rows. @returns how many; fewer: there are no more */
  sweep(batchSize: number): Promise<number>;
}>;

/**
 * The part of its interval that a run may take: it is bounded by time and not by a number of batches, which a busy
 * server's tokens would outrun. What is left over after it is the next one's.
 */
const RUN_SHARE = 0.8;
/** pg-boss fails a job after a quarter of an hour. */
const LONGEST_RUN_SECONDS = 600;
const MS_PER_SECOND = 1_000;

/** How long one run may take, in milliseconds. */
export function sweepRunMs(intervalSeconds: number): number {
  return Math.floor(Math.min(intervalSeconds * RUN_SHARE, LONGEST_RUN_SECONDS) * MS_PER_SECOND);
}

/**
 * Removes what has expired, one kind of rows after the other. A backlog of one leaves time for the others: each may take an
 * equal part of the time that those before it left, so that what has most to do is best named last.
 *
 * @param options.sweeps one that fails is logged, and keeps none of the others from being done
 */
export function sweepTask(options: {
  logger: Logger;
  intervalSeconds: number;
  batchSize: number;
  sweeps: readonly Sweep[];
  pace?: Pace;
}): Task {
  const { logger, intervalSeconds, batchSize, sweeps, pace = realPace } = options;
  return {
    name: 'sweep-expired',
    intervalSeconds,
    async run(signal) {
      const runEndsAt = pace.now() + sweepRunMs(intervalSeconds);
      for (const [index, { name, sweep }] of sweeps.entries()) {
        try {
          const now = pace.now();
          const endsAt = now + (runEndsAt - now) / (sweeps.length - index);
          const removed = await sweepInBatches({ batchSize, sweep, signal, endsAt, pace });
          if (removed > 0) logger.info({ sweep: name, removed }, 'what had expired was removed');
        } catch (error) {
          // At the stop the database is closed under it.
          const level = signal.aborted ? 'debug' : 'warn';
          logger[level]({ sweep: name, err: error }, 'a sweep failed; the next one goes on');
        }
      }
    },
  };
}
