import type { Logger } from '../telemetry/index.ts';
import type { Task } from './jobs.ts';
import { sweepInBatches } from './sweep-in-batches.ts';

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

/** How long one run may go on with one kind of rows, so that a backlog of one leaves time for the others. */
export function sweepLimitMs(intervalSeconds: number, sweeps: number): number {
  const runMs = Math.min(intervalSeconds * RUN_SHARE, LONGEST_RUN_SECONDS) * MS_PER_SECOND;
  return Math.floor(runMs / Math.max(1, sweeps));
}

/**
 * Removes what has expired, one kind of rows after the other.
 *
 * @param options.sweeps one that fails is logged, and keeps none of the others from being done
 */
export function sweepTask(options: {
  logger: Logger;
  intervalSeconds: number;
  batchSize: number;
  sweeps: readonly Sweep[];
}): Task {
  const { logger, intervalSeconds, batchSize, sweeps } = options;
  const limitMs = sweepLimitMs(intervalSeconds, sweeps.length);
  return {
    name: 'sweep-expired',
    intervalSeconds,
    async run(stopping) {
      for (const { name, sweep } of sweeps) {
        try {
          const signal = AbortSignal.any([stopping, AbortSignal.timeout(limitMs)]);
          const removed = await sweepInBatches({ batchSize, sweep, signal });
          if (removed > 0) logger.info({ sweep: name, removed }, 'what had expired was removed');
        } catch (error) {
          logger.warn({ sweep: name, err: error }, 'a sweep failed; the next one goes on');
        }
      }
    },
  };
}
