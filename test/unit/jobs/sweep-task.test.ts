import { describe, expect, test } from '@jest/globals';
import type { Pace } from '../../../src/jobs/sweep-in-batches.ts';
import { sweepRunMs, sweepTask } from '../../../src/jobs/sweep-task.ts';
import { recordingLogger } from '../../harness/loggers.ts';

const BATCH_SIZE = 10;
/** A run of an interval of 20 s may take 16 s. */
const INTERVAL_SECONDS = 20;

/** Time that passes only while a batch is removed or a sweep rests. */
function steppedPace() {
  let now = 1_000;
  const pace: Pace = {
    now: () => now,
    rest: async (milliseconds) => {
      now += milliseconds;
    },
  };
  /** A kind of rows with so many full batches, each of which takes so long; and when they were removed. */
  function kind(name: string, { batches, batchMs }: { batches: number; batchMs: number }) {
    const times: number[] = [];
    async function sweep(batchSize: number) {
      times.push(now - 1_000);
      now += batchMs;
      return times.length > batches ? 0 : batchSize;
    }
    return { name, sweep, times };
  }
  return { pace, kind };
}

const { signal } = new AbortController();

describe('a run', () => {
  test('may take most of its interval, and never as long as pg-boss lets a job', () => {
    expect(sweepRunMs(60)).toBe(48_000);
    expect(sweepRunMs(365 * 24 * 3_600)).toBe(600_000);
  });

  test('gives a backlog without an end its equal part of the time, and leaves the other kinds theirs', async () => {
    const { pace, kind } = steppedPace();
    const { logger, lines } = recordingLogger();
    const endless = kind('artifacts', { batches: Number.POSITIVE_INFINITY, batchMs: 100 });
    const short = kind('attempts', { batches: 0, batchMs: 0 });
    await sweepTask({
      logger,
      intervalSeconds: INTERVAL_SECONDS,
      batchSize: BATCH_SIZE,
      sweeps: [endless, short],
      pace,
    }).run(signal);
    // Half of 16 s, and half of that is rest.
    expect(endless.times).toHaveLength(40);
    expect(short.times).toEqual([7_900]);
    expect(lines.map(({ sweep, removed }) => ({ sweep, removed }))).toEqual([{ sweep: 'artifacts', removed: 400 }]);
  });

  test('that fails because it was told to stop is no warning', async () => {
    const { logger, lines } = recordingLogger();
    const stopping = new AbortController();
    const sweep = async () => {
      stopping.abort();
      throw new Error('pool is destroyed');
    };
    const sweeps = [{ name: 'artifacts', sweep }];
    const task = sweepTask({ logger, intervalSeconds: INTERVAL_SECONDS, batchSize: BATCH_SIZE, sweeps });
    await task.run(stopping.signal);
    expect(lines.map(({ level }) => level)).toEqual([20]);
  });

  test('gives a backlog the time that the kinds before it did not need', async () => {
    const { pace, kind } = steppedPace();
    const { logger } = recordingLogger();
    const short = kind('attempts', { batches: 0, batchMs: 1_000 });
    const endless = kind('artifacts', { batches: Number.POSITIVE_INFINITY, batchMs: 100 });
    await sweepTask({
      logger,
      intervalSeconds: INTERVAL_SECONDS,
      batchSize: BATCH_SIZE,
      sweeps: [short, endless],
      pace,
    }).run(signal);
    expect(endless.times[0]).toBe(1_000);
    expect(endless.times.at(-1)).toBe(15_800);
  });

  test('removes one batch of every kind, however long those before it took', async () => {
    const { pace, kind } = steppedPace();
    const { logger } = recordingLogger();
    const kinds = ['artifacts', 'attempts', 'consents'].map((name) => kind(name, { batches: 5, batchMs: 20_000 }));
    await sweepTask({ logger, intervalSeconds: INTERVAL_SECONDS, batchSize: BATCH_SIZE, sweeps: kinds, pace }).run(
      signal,
    );
    expect(kinds.map(({ times }) => times)).toEqual([[0], [20_000], [40_000]]);
  });
});
