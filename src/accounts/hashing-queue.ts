import { AppError } from '../errors.ts';

/**
 * Runs `concurrency` pieces of work at once and lets `maxWaiting` more wait in line.
 *
 * @returns runs one piece; throws {AppError} `temporarily_unavailable` (503) at once when the line is full, so that a flood
 *   costs neither memory nor the patience of those in line
 */
export function createHashingQueue(options: {
  concurrency: number;
  maxWaiting: number;
}): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;

  return async function run<T>(work: () => Promise<T>): Promise<T> {
    if (running < options.concurrency) {
      running += 1;
    } else {
      if (waiting.length >= options.maxWaiting) {
        throw new AppError({
          code: 'temporarily_unavailable',
          message: 'Too many people are signing in at the moment. Please try again in a few seconds.',
        });
      }
      // Whoever leaves hands over the place: `running` stays as it is.
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
