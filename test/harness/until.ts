import { setTimeout as delay } from 'node:timers/promises';

const PAUSE_MS = 10;

/** The value that `find` has in the end; asks again and again until it is neither undefined nor false. */
export async function until<T>(
  find: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = 10_000,
): Promise<T> {
  for (let waited = 0; waited <= limitMs; waited += PAUSE_MS) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
    await delay(PAUSE_MS);
  }
  throw new Error(`nothing came of it within ${limitMs} ms`);
}
