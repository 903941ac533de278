/**
 * Sweeps batch after batch until one is not full: then nothing was left. Small statements hold few locks and let the
 * requests in between.
 *
 * @param options.signal ends it after the batch in hand: at the stop, and when its time is up
 * @returns rows removed
 */
export async function sweepInBatches(options: {
  batchSize: number;
  sweep(batchSize: number): Promise<number>;
  signal: AbortSignal;
}): Promise<number> {
  let removed = 0;
  while (!options.signal.aborted) {
    const count = await options.sweep(options.batchSize);
    removed += count;
    if (count < options.batchSize) break;
  }
  return removed;
}
