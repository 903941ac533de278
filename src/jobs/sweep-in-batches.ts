/** Enough for a backlog to shrink quickly, and a run still ends before the next one is due. */
const MAX_BATCHES_PER_RUN = 100;

/**
 * Sweeps batch after batch until one is not full: then nothing was left. Small statements hold few locks and let the
 * requests in between.
 *
 * @returns rows removed
 */
export async function sweepInBatches(options: {
  batchSize: number;
  sweep(batchSize: number): Promise<number>;
  signal: AbortSignal;
}): Promise<number> {
  let removed = 0;
  for (let batch = 0; batch < MAX_BATCHES_PER_RUN && !options.signal.aborted; batch++) {
    const count = await options.sweep(options.batchSize);
    removed += count;
    if (count < options.batchSize) break;
  }
  return removed;
}
