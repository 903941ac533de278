import { describe, expect, test } from '@jest/globals';
import { bootstrapInterval, judge, median, passes, seededRandom } from '../../../bench/statistics.ts';

describe('the median', () => {
  test('is the value in the middle, whatever the order', () => {
    expect(median([9, 1, 5])).toBe(5);
  });

  test('of an even number lies between the two in the middle', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });

  test('of nothing is no number', () => {
    expect(median([])).toBeNaN();
  });
});

describe('the bootstrap interval', () => {
  test('of rounds that all agree is their value', () => {
    expect(bootstrapInterval([0.9, 0.9, 0.9])).toEqual({ low: 0.9, high: 0.9 });
  });

  test('holds the median and stays within the rounds', () => {
    const { low, high } = bootstrapInterval([0.8, 0.85, 0.9, 0.95, 1, 1.05, 1.1]);
    expect(low).toBeGreaterThanOrEqual(0.8);
    expect(low).toBeLessThan(0.95);
    expect(high).toBeGreaterThan(0.95);
    expect(high).toBeLessThanOrEqual(1.1);
  });

  test('covers the true median of about 95 in 100 experiments', () => {
    const random = seededRandom(7);
    const trials = 200;
    let covered = 0;
    for (let trial = 0; trial < trials; trial += 1) {
      const sample = Array.from({ length: 15 }, random);
      const { low, high } = bootstrapInterval(sample, random, 400);
      if (low <= 0.5 && high >= 0.5) covered += 1;
    }
    expect(covered / trials).toBeGreaterThan(0.9);
    expect(covered / trials).toBeLessThan(0.99);
  });
});

describe('a row', () => {
  const verdict = { row: 'x', ratio: 1, low: 0.88, high: 0.92, goal: 0.9, atMost: false };

  test('passes when its interval reaches a goal from below, and fails when it ends short of it', () => {
    expect(passes(verdict)).toBe(true);
    expect(passes({ ...verdict, high: 0.89 })).toBe(false);
  });

  test('passes a goal that is a ceiling when its interval begins below it', () => {
    expect(passes({ ...verdict, atMost: true })).toBe(true);
    expect(passes({ ...verdict, atMost: true, low: 0.91 })).toBe(false);
  });

  test('of which nothing was measured does not pass', () => {
    expect(passes(judge('x', [], { atLeast: 0 }))).toBe(false);
    expect(passes(judge('x', [], { atMost: 1 }))).toBe(false);
  });

  test('says its goal and the way in which it is meant', () => {
    expect(judge('x', [1, 1, 1], { atMost: 1.1 })).toEqual({
      row: 'x',
      ratio: 1,
      low: 1,
      high: 1,
      goal: 1.1,
      atMost: true,
    });
  });
});
