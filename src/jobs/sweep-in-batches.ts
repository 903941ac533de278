import { setTimeout as delay } from 'node:timers/promises';

/** How a sweep gives way to others; in milliseconds. */
export type Pace = Readonly<{
  now(): number;
  /** Resolves after so long, or when the signal says so. */
  rest(milliseconds: number, signal: AbortSignal): Promise<void>;
}>;

/** Of this machine's clock. */
export const realPace: Pace = {
  now: () => performance.now(),
  rest: (milliseconds, signal) => delay(milliseconds, undefined, { signal }).catch(() => undefined),
};

/**
 * Sweeps batch after batch until one is not full: then nothing was left. Small statements hold few locks and let the
 * requests in between. After each it rests for as long as that batch took: so it never keeps the database busy for more
 * than half of the time of one connection, and asks less of one that is slow because others ask much (measured:
 * docs/performance.md).
 *
 * @param options.endsAt when its time is up, by the pace's clock: only the first batch may begin later
 * @param options.signal ends it after the batch in hand: at the stop
 * @returns rows removed
 */
export async function sweepInBatches(options: {
  batchSize: number;
  sweep(batchSize: number): Promise<number>;
  signal: AbortSignal;
  endsAt?: number;
  pace?: Pace;
}): Promise<number> {
  const { batchSize, sweep, signal, endsAt = Number.POSITIVE_INFINITY, pace = realPace } = options;
  let removed = 0;
  while (!signal.aborted) {
    const startedAt = pace.now();
    const count = await sweep(batchSize);
    removed += count;
    if (count < batchSize) break;
    const now = pace.now();
    const restMs = now - startedAt;
    if (now + restMs >= endsAt) break;
    await pace.rest(restMs, signal);
  }
  return removed;
}
