import { expect, test } from '@jest/globals';
import { oneAtATime } from '../../../src/database/index.ts';

/** Work that begins when it is asked for, and ends when a test says so. */
function heldWork() {
  const begun: PromiseWithResolvers<void>[] = [];
  const run = oneAtATime(() => {
    const held = Promise.withResolvers<void>();
    begun.push(held);
    return held.promise;
  });
  return { run, begun };
}

test('whoever asks while it runs shares the one run that follows', async () => {
  const { run, begun } = heldWork();
  const first = run();
  const others = [run(), run(), run()];
  expect(begun).toHaveLength(1);
  begun[0]?.resolve();
  await first;
  await new Promise(setImmediate);
  expect(begun).toHaveLength(2);
  begun[1]?.resolve();
  await Promise.all(others);
  expect(begun).toHaveLength(2);
});

test('a run that fails fails for those who asked for it alone', async () => {
  const { run, begun } = heldWork();
  const first = run();
  const second = run();
  begun[0]?.reject(new Error('away'));
  await expect(first).rejects.toThrow('away');
  await new Promise(setImmediate);
  begun[1]?.resolve();
  await expect(second).resolves.toBeUndefined();
});
