import {
  type RateLimiterAbstract,
  RateLimiterMemory,
  RateLimiterPostgres,
  type RateLimiterRes,
} from 'rate-limiter-flexible';
import { ATTEMPTS_TABLE, type AttemptsClient } from './attempts-store.ts';

/** Counting in memory bridges an outage. Node's timers, which end such a window, overflow at 24.8 days. */
const MAX_IN_MEMORY_SECONDS = 24 * 60 * 60;

/** Counts in the database, so that all nodes count together; while it is away, in the memory of this process. */
export function createAttemptsCounter(
  client: AttemptsClient,
  counter: { keyPrefix: string; points: number; windowSeconds: number },
): RateLimiterAbstract {
  const { keyPrefix, points, windowSeconds } = counter;
  return new RateLimiterPostgres({
    storeClient: client,
    storeType: 'client',
    tableName: ATTEMPTS_TABLE,
    tableCreated: true,
    clearExpiredByTimeout: false,
    keyPrefix,
    points,
    duration: windowSeconds,
    insuranceLimiter: new RateLimiterMemory({
      keyPrefix,
      points,
      duration: Math.min(windowSeconds, MAX_IN_MEMORY_SECONDS),
    }),
  });
}

/** Whole seconds until a window has passed. */
export function secondsUntilOver({ msBeforeNext }: RateLimiterRes): number {
  return Math.max(1, Math.ceil(msBeforeNext / 1000));
}
