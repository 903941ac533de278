import { describe, expect, test } from '@jest/globals';
import { createChangeCache } from '../../../src/database/change-cache.ts';

function startCache() {
  const rows = new Map<string, string>();
  const asked: string[] = [];
  const waiting: (() => void)[] = [];
  const state = { now: 0, isHeld: false, isAway: false, isTold: false };
  const cache = createChangeCache<string>({
    clock: () => state.now,
    isTold: () => state.isTold,
    async lookUp(id) {
      asked.push(id);
      if (state.isAway) throw new Error('away');
      const found = rows.get(id);
      if (state.isHeld) await new Promise<void>((resolve) => waiting.push(resolve));
      return found;
    },
  });
  const release = () => {
    for (const resolve of waiting.splice(0)) resolve();
  };
  return { cache, rows, asked, state, release };
}

describe('the cache of what the feed tells of', () => {
  test('asks once for what many want at once, and again only when it is old', async () => {
    const { cache, rows, asked, state } = startCache();
    rows.set('a', '1');
    expect(await Promise.all([cache.get('a'), cache.get('a'), cache.get('a')])).toEqual(['1', '1', '1']);
    state.now = 749;
    await cache.get('a');
    expect(asked).toEqual(['a']);
    state.now = 750;
    rows.set('a', '2');
    expect(await cache.get('a')).toBe('2');
    expect(asked).toEqual(['a', 'a']);
  });

  test('asks about once a minute for what is sure to be dropped when it changes, and at once when that is over', async () => {
    const { cache, asked, state } = startCache();
    state.isTold = true;
    await cache.get('a');
    state.now = 59_999;
    await cache.get('a');
    expect(asked).toHaveLength(1);
    state.now = 60_000;
    await cache.get('a');
    expect(asked).toHaveLength(2);
    state.now = 60_750;
    state.isTold = false;
    await cache.get('a');
    expect(asked).toHaveLength(3);
  });

  test('believes no answer from the future: the clock was set back', async () => {
    const { cache, rows, state } = startCache();
    state.now = 1_000_000;
    rows.set('a', '1');
    await cache.get('a');
    rows.set('a', '2');
    state.now = 0;
    expect(await cache.get('a')).toBe('2');
  });

  test('remembers that there is none, and for less than a second', async () => {
    const { cache, rows, asked, state } = startCache();
    expect(await cache.get('a')).toBeUndefined();
    expect(await cache.get('a')).toBeUndefined();
    expect(asked).toEqual(['a']);
    rows.set('a', '1');
    state.now = 999;
    expect(await cache.get('a')).toBe('1');
  });

  test('forgets what is dropped, one or all, present or absent', async () => {
    const { cache, rows } = startCache();
    rows.set('a', '1');
    await Promise.all([cache.get('a'), cache.get('b')]);
    rows.set('a', '2').set('b', '2');
    expect([await cache.get('a'), await cache.get('b')]).toEqual(['1', undefined]);
    cache.drop('a');
    expect([await cache.get('a'), await cache.get('b')]).toEqual(['2', undefined]);
    rows.set('a', '3');
    cache.drop();
    expect([await cache.get('a'), await cache.get('b')]).toEqual(['3', '2']);
  });

  test('keeps no answer that was on its way when it was dropped', async () => {
    const { cache, rows, state, release } = startCache();
    state.isHeld = true;
    const early = [cache.get('a'), cache.get('b')];
    rows.set('a', 'new');
    cache.drop('a');
    state.isHeld = false;
    expect(await cache.get('a')).toBe('new');
    cache.drop();
    rows.set('b', 'new');
    release();
    expect(await Promise.all(early)).toEqual([undefined, undefined]);
    expect([await cache.get('a'), await cache.get('b')]).toEqual(['new', 'new']);
  });

  test('remembers no failure', async () => {
    const { cache, rows, state } = startCache();
    rows.set('a', '1');
    state.isAway = true;
    await expect(cache.get('a')).rejects.toThrow('away');
    state.isAway = false;
    expect(await cache.get('a')).toBe('1');
  });

  test('is bounded: guessed ids push out nothing that is there, and of that the least used leaves', async () => {
    const { cache, rows, asked, state } = startCache();
    for (let i = 0; i < 10_000; i += 1) {
      rows.set(`row-${i}`, 'row');
      await cache.get(`row-${i}`);
    }
    for (let i = 0; i < 20_000; i += 1) await cache.get(`guess-${i}`);
    state.now = 500;
    await cache.get('row-0');
    expect(asked).toHaveLength(30_000);
    rows.set('one-more', 'row');
    await cache.get('one-more');
    await cache.get('row-0');
    expect(asked).toHaveLength(30_001);
    await cache.get('row-1');
    await cache.get('guess-0');
    expect(asked).toHaveLength(30_003);
  });
});
