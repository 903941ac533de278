import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fullBucket, takeFrom, waitOf } from '../../../src/api-keys/rate-bucket.ts';

test('lets through one second of the rate at once, and then as much as has passed', () => {
  const bucket = fullBucket(10, 0);
  const tryAt = (now: number) => {
    const waitMs = waitOf(bucket, 10, now);
    if (waitMs === 0) takeFrom(bucket);
    return waitMs;
  };
  for (let i = 0; i < 10; i += 1) expect(tryAt(0)).toBe(0);
  expect(tryAt(0)).toBeCloseTo(100);
  expect(tryAt(99)).toBeGreaterThan(0);
  expect(tryAt(101)).toBe(0);
  expect(tryAt(101)).toBeGreaterThan(0);
});

test('saves up no more than one second of the rate', () => {
  const bucket = fullBucket(3, 0);
  let taken = 0;
  while (waitOf(bucket, 3, 3_600_000) === 0) {
    takeFrom(bucket);
    taken += 1;
  }
  expect(taken).toBe(3);
});

test('never lets through more than the rate and a second of it, and a clock that is set back gives nothing away', () => {
  const steps = fc.array(fc.integer({ min: -2_000, max: 2_000 }), { maxLength: 200 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), steps, (rate, deltas) => {
      let now = 1_000_000;
      let forwardMs = 0;
      let taken = 0;
      const bucket = fullBucket(rate, now);
      for (const delta of deltas) {
        now += delta;
        forwardMs += Math.max(0, delta);
        if (waitOf(bucket, rate, now) > 0) continue;
        takeFrom(bucket);
        taken += 1;
      }
      expect(taken).toBeLessThanOrEqual(rate + (rate * forwardMs) / 1_000 + 1e-6);
    }),
  );
});
