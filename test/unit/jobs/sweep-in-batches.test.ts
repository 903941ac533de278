import { describe, expect, test } from '@jest/globals';
import { realPace, sweepInBatches } from '../../../src/jobs/sweep-in-batches.ts';

function store(rows: number) {
  const batches: number[] = [];
  return {
    batches,
    async sweep(batchSize: number) {
      const taken = Math.min(batchSize, rows);
      rows -= taken;
      batches.push(taken);
      return taken;
    },
  };
}
const { signal } = new AbortController();

describe('a sweep', () => {
  test('goes on until a batch is not full', async () => {
    const { batches, sweep } = store(25);
    expect(await sweepInBatches({ batchSize: 10, sweep, signal })).toBe(25);
    expect(batches).toEqual([10, 10, 5]);
  });

  test('where nothing has expired asks once', async () => {
    const { batches, sweep } = store(0);
    expect(await sweepInBatches({ batchSize: 10, sweep, signal })).toBe(0);
    expect(batches).toEqual([0]);
  });

  test('goes on for as many batches as there are', async () => {
    const { batches, sweep } = store(10_000);
    expect(await sweepInBatches({ batchSize: 10, sweep, signal })).toBe(10_000);
    expect(batches).toHaveLength(1_001);
  });

  test('stops between two batches when it is told to, or its time is up', async () => {
    const stopping = new AbortController();
    const { batches, sweep } = store(100);
    const sweepAndStop = (batchSize: number) => {
      if (batches.length === 1) stopping.abort();
      return sweep(batchSize);
    };
    expect(await sweepInBatches({ batchSize: 10, sweep: sweepAndStop, signal: stopping.signal })).toBe(20);
  });

  test('rests after every full batch for as long as the batch took', async () => {
    const rests: number[] = [];
    let now = 0;
    const left = store(25);
    const durations = [7, 30, 4];
    await sweepInBatches({
      batchSize: 10,
      signal,
      sweep(batchSize) {
        now += durations[left.batches.length] ?? 0;
        return left.sweep(batchSize);
      },
      pace: {
        now: () => now,
        async rest(milliseconds) {
          rests.push(milliseconds);
        },
      },
    });
    expect(rests).toEqual([7, 30]);
  });

  test('that is told to stop while it rests ends at once', async () => {
    const stopping = new AbortController();
    let now = 0;
    const { sweep } = store(100);
    const swept = sweepInBatches({
      batchSize: 10,
      signal: stopping.signal,
      sweep,
      pace: {
        // An hour for every batch.
        now: () => (now += 1_800_000),
        rest(milliseconds, restSignal) {
          queueMicrotask(() => stopping.abort());
          return realPace.rest(milliseconds, restSignal);
        },
      },
    });
    expect(await swept).toBe(10);
  });
});
