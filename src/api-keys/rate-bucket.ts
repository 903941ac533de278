/** A token bucket: it holds one second's worth, and is filled all the time. Times are milliseconds. */
export type RateBucket = { tokens: number; filledAt: number };

/** @returns milliseconds until one more may pass; 0: now. Takes nothing */
export function waitOf(bucket: RateBucket, ratePerSecond: number, now: number): number {
  fill(bucket, ratePerSecond, now);
  return bucket.tokens >= 1 ? 0 : ((1 - bucket.tokens) / ratePerSecond) * 1_000;
}

/** Takes one, after `waitOf` said 0. */
export function takeFrom(bucket: RateBucket): void {
  bucket.tokens -= 1;
}

/** Of a key that was not used within the last second. */
export function fullBucket(ratePerSecond: number, now: number): RateBucket {
  return { tokens: ratePerSecond, filledAt: now };
}

function fill(bucket: RateBucket, ratePerSecond: number, now: number): void {
  // Below zero: the clock was set back. Then it fills from there on.
  const elapsed = Math.max(0, now - bucket.filledAt);
  bucket.tokens = Math.min(ratePerSecond, bucket.tokens + (elapsed / 1_000) * ratePerSecond);
  bucket.filledAt = now;
}
