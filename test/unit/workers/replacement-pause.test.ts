import { expect, test } from '@jest/globals';
import { pauseBeforeReplacement } from '../../../src/workers/replacement-pause.ts';

test('a worker that lived for long is replaced at once, those that die young after pauses that double up to 30 s', () => {
  const pauses = [0, 1, 2, 3, 4, 7, 8, 1_000].map(pauseBeforeReplacement);
  expect(pauses).toEqual([0, 250, 500, 1_000, 2_000, 16_000, 30_000, 30_000]);
});
