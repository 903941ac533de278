import { describe, expect, test } from '@jest/globals';
import { createBatcher } from '../../../src/tokens/batching.ts';

const never = () => false;

/** A batcher whose batches end when the test says so. */
function held(keyOf?: (request: string) => string) {
  const batches: { requests: readonly string[]; end(): void }[] = [];
  const batcher = createBatcher<string, string>({
    isFaultOfOneRow: never,
    ...(keyOf && { keyOf }),
    run: (requests) =>
      new Promise((resolve) => {
        batches.push({ requests, end: () => resolve(requests.map((request) => `${request}!`)) });
      }),
  });
  return { batcher, batches };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a batcher', () => {
  test('sends what arrives in one turn together and answers each with its own', async () => {
    const { batcher, batches } = held();
    const answers = Promise.all(['a', 'b', 'c'].map((request) => batcher.submit(request)));
    await turn();
    expect(batches.map(({ requests }) => requests)).toEqual([['a', 'b', 'c']]);
    batches[0]?.end();
    expect(await answers).toEqual(['a!', 'b!', 'c!']);
  });

  test('answers nobody before the batch is done', async () => {
    const { batcher, batches } = held();
    let isAnswered = false;
    const answer = batcher.submit('a').then(() => {
      isAnswered = true;
    });
    await turn();
    await turn();
    expect(isAnswered).toBe(false);
    batches[0]?.end();
    await answer;
  });

  test('bounds a batch to 256 requests', async () => {
    const { batcher, batches } = held();
    const answers = Promise.all(Array.from({ length: 600 }, (_, index) => batcher.submit(String(index))));
    await turn();
    for (let index = 0; index < 3; index += 1) {
      batches[index]?.end();
      await turn();
    }
    expect(batches.map(({ requests }) => requests.length)).toEqual([256, 256, 88]);
    expect((await answers)[599]).toBe('599!');
  });

  test('runs two batches at once and gathers what arrives meanwhile', async () => {
    const { batcher, batches } = held();
    for (const request of ['a', 'b', 'c', 'd']) {
      void batcher.submit(request);
      await turn();
    }
    expect(batches.map(({ requests }) => requests)).toEqual([['a'], ['b']]);
    batches[0]?.end();
    await turn();
    expect(batches.map(({ requests }) => requests)).toEqual([['a'], ['b'], ['c', 'd']]);
  });

  test('keeps the order of one key: never two batches at once', async () => {
    const { batcher, batches } = held((request) => request.charAt(0));
    void batcher.submit('x1');
    await turn();
    void batcher.submit('x2');
    void batcher.submit('y1');
    void batcher.submit('x3');
    await turn();
    expect(batches.map(({ requests }) => requests)).toEqual([['x1'], ['y1']]);
    batches[0]?.end();
    await turn();
    expect(batches.map(({ requests }) => requests)).toEqual([['x1'], ['y1'], ['x2', 'x3']]);
  });

  test('keeps the order of one key also where a batch is full', async () => {
    const { batcher, batches } = held((request) => request);
    for (let index = 0; index < 256; index += 1) void batcher.submit(index === 0 ? 'x' : `y${index}`);
    void batcher.submit('x');
    await turn();
    expect(batches).toHaveLength(1);
    batches[0]?.end();
    await turn();
    expect(batches[1]?.requests).toEqual(['x']);
  });

  test('tries each alone when one may be at fault, so that only that one fails', async () => {
    const runs: (readonly string[])[] = [];
    const batcher = createBatcher<string, string>({
      isFaultOfOneRow: (error) => error instanceof RangeError,
      async run(requests) {
        runs.push(requests);
        if (requests.includes('bad')) throw new RangeError('bad row');
        return requests;
      },
    });
    const outcomes = await Promise.allSettled(['a', 'bad', 'b'].map((request) => batcher.submit(request)));
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(runs).toEqual([['a', 'bad', 'b'], ['a'], ['bad'], ['b']]);
  });

  test('fails all at once with the original error when no single one is at fault, and goes on afterwards', async () => {
    let isAway = true;
    let runCount = 0;
    const fault = new Error('away');
    const batcher = createBatcher<string, string>({
      isFaultOfOneRow: never,
      async run(requests) {
        runCount += 1;
        if (isAway) throw fault;
        return requests;
      },
    });
    const outcomes = await Promise.allSettled([batcher.submit('a'), batcher.submit('b')]);
    expect(outcomes).toEqual([
      { status: 'rejected', reason: fault },
      { status: 'rejected', reason: fault },
    ]);
    expect(runCount).toBe(1);
    isAway = false;
    expect(await batcher.submit('c')).toBe('c');
  });

  test('tries no more alone once one fails by what is no row’s fault: all that are left fail by it', async () => {
    const away = new Error('away');
    let runCount = 0;
    const batcher = createBatcher<string, string>({
      isFaultOfOneRow: (error) => error instanceof RangeError,
      async run(requests) {
        runCount += 1;
        if (runCount === 1) throw new RangeError('bad row');
        if (requests.includes('b')) throw away;
        return requests;
      },
    });
    const outcomes = await Promise.allSettled(['a', 'b', 'c', 'd'].map((request) => batcher.submit(request)));
    expect(outcomes).toEqual([
      { status: 'fulfilled', value: 'a' },
      { status: 'rejected', reason: away },
      { status: 'rejected', reason: away },
      { status: 'rejected', reason: away },
    ]);
    expect(runCount).toBe(3);
  });

  test('is drained when nothing waits or runs', async () => {
    const { batcher, batches } = held();
    await batcher.drain();
    void batcher.submit('a');
    let isDrained = false;
    const drained = batcher.drain().then(() => {
      isDrained = true;
    });
    await turn();
    await turn();
    expect(isDrained).toBe(false);
    batches[0]?.end();
    await drained;
  });
});
