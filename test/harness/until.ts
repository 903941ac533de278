import { setTimeout as delay } from 'node:timers/promises';

const PAUSE_MS = 10;
/** Of what happens in a moment, on the busiest machine. */
const PATIENCE_MS = 45_000;

/** In which every node honours what another one changed: the promise is a second, the rest is for a busy machine. */
export const SEEN_WITHIN_MS = 2_000;

/**
 * What `look` sees in the end; it looks again and again until that is neither undefined nor false.
 * @throws where it is seen in vain for `limitMs` milliseconds
 */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await delay(PAUSE_MS);
  }
}
