import { describe, expect, test } from '@jest/globals';
import type { ArtifactKind } from '../../../src/tokens/artifact.ts';
import { createArtifactCache } from '../../../src/tokens/artifact-cache.ts';
import type { StoredRow } from '../../../src/tokens/artifact-row.ts';

function row(id: string, kind: ArtifactKind = 'AccessToken'): StoredRow {
  return { id, kind, payload: '{}', sealed: null, consumed_at: null, expires_at: null };
}

function makeCache(size = 100) {
  const state = { now: 0, isHeard: true };
  const cache = createArtifactCache({ size, isHeard: () => state.isHeard, now: () => state.now });
  const read = (...rows: StoredRow[]) => cache.read(async () => new Map(rows.map((each) => [each.id, each])));
  const isHeld = (key: string) => cache.find([key]) !== undefined;
  return { state, cache, read, isHeld };
}

describe('the cache of live artifacts', () => {
  test('holds what was read for less than a second, counted from before it was read', async () => {
    const { state, cache, isHeld } = makeCache();
    await cache.read(async () => {
      state.now = 400;
      return new Map([['a', row('a')]]);
    });
    state.now = 699;
    expect(isHeld('a')).toBe(true);
    state.now = 700;
    expect(isHeld('a')).toBe(false);
  });

  test('is not younger for being used', async () => {
    const { state, read, isHeld } = makeCache();
    await read(row('a'));
    state.now = 600;
    expect(isHeld('a')).toBe(true);
    state.now = 1_200;
    expect(isHeld('a')).toBe(false);
  });

  test('finds the one that is held among several keys, which counts as one hit', async () => {
    const { cache, read } = makeCache();
    await read(row('b'));
    expect(cache.find(['a', 'b', 'c'])?.id).toBe('b');
    expect(cache.find(['a', 'c'])).toBeUndefined();
    expect(cache.counts()).toEqual({ hits: 1, misses: 1 });
  });

  test.each<[ArtifactKind, boolean]>([
    ['AccessToken', true],
    ['ClientCredentials', true],
    ['Grant', true],
    ['Session', true],
    ['RefreshToken', false],
    ['AuthorizationCode', false],
  ])('of a %s it holds: %s', async (kind, expected) => {
    const { read, isHeld } = makeCache();
    await read(row('a', kind));
    expect(isHeld('a')).toBe(expected);
  });

  test('is bounded: what was not used for longest leaves', async () => {
    const { read, isHeld } = makeCache(3);
    await read(row('a'), row('b'), row('c'));
    expect(isHeld('a')).toBe(true);
    await read(row('d'));
    expect(['a', 'b', 'c', 'd'].filter(isHeld)).toEqual(['a', 'c', 'd']);
  });

  test('of size 0 holds nothing', async () => {
    const { read, isHeld } = makeCache(0);
    await read(row('a'));
    expect(isHeld('a')).toBe(false);
  });

  test('remembers nothing of a look during which more was dropped than anybody ends', async () => {
    for (const [count, held] of [
      [100, true],
      [100_000, false],
    ] as const) {
      const { cache, isHeld } = makeCache();
      const gate = Promise.withResolvers<Map<string, StoredRow>>();
      const read = cache.read(() => gate.promise);
      cache.drop(Array.from({ length: count }, (_, index) => `other-${index}`));
      gate.resolve(new Map([['a', row('a')]]));
      await read;
      expect(isHeld('a')).toBe(held);
    }
  });

  test.each([
    ['one', ['a'], ['b']],
    ['everything', undefined, []],
  ])('forgets %s at once', async (_, dropped, held) => {
    const { cache, read, isHeld } = makeCache();
    await read(row('a'), row('b'));
    cache.drop(dropped);
    expect(['a', 'b'].filter(isHeld)).toEqual(held);
  });

  test.each([
    ['named', ['a'], ['b']],
    ['everything', undefined, []],
  ])('does not remember what is dropped while it is being read: %s', async (_, dropped, held) => {
    const { cache, isHeld } = makeCache();
    const gate = Promise.withResolvers<Map<string, StoredRow>>();
    const reading = cache.read(() => gate.promise);
    cache.drop(dropped);
    gate.resolve(new Map(['a', 'b'].map((id) => [id, row(id)])));
    // Who asked before the drop is answered by what there was.
    expect((await reading).size).toBe(2);
    expect(['a', 'b'].filter(isHeld)).toEqual(held);
    await cache.read(async () => new Map([['a', row('a')]]));
    expect(isHeld('a')).toBe(true);
  });

  test('a look that fails is not remembered, and leaves nothing behind', async () => {
    const { cache, read, isHeld } = makeCache();
    await expect(cache.read(() => Promise.reject(new Error('away')))).rejects.toThrow('away');
    await read(row('a'));
    expect(isHeld('a')).toBe(true);
  });

  test('neither holds nor gives anything while nobody is heard, nor what was read in that time', async () => {
    const { state, cache, read, isHeld } = makeCache();
    await read(row('a'));
    state.isHeard = false;
    expect(isHeld('a')).toBe(false);
    const gate = Promise.withResolvers<Map<string, StoredRow>>();
    const reading = cache.read(() => gate.promise);
    state.isHeard = true;
    gate.resolve(new Map([['b', row('b')]]));
    await reading;
    expect(isHeld('b')).toBe(false);
  });
});
