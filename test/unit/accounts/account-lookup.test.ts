import { describe, expect, test } from '@jest/globals';
import type { Account } from '../../../src/accounts/account.ts';
import { createAccountLookup } from '../../../src/accounts/account-lookup.ts';

function makeAccount(id: string, isDisabled = false): Account {
  const at = new Date(0);
  return {
    id,
    email: `${id}@example.com`,
    isEmailVerified: false,
    isDisabled,
    isDemo: false,
    profile: {},
    roles: [],
    createdAt: at,
    updatedAt: at,
  };
}

function makeLookup() {
  const state = { now: 0, isTold: false, isDisabled: false, queries: [] as string[][], hold: Promise.resolve() };
  const lookup = createAccountLookup({
    clock: () => state.now,
    isTold: () => state.isTold,
    async load(ids) {
      state.queries.push([...ids]);
      const rows = ids.filter((id) => id !== 'nobody').map((id) => makeAccount(id, state.isDisabled));
      await state.hold;
      return rows;
    },
  });
  return { state, lookup };
}

describe('looking up accounts', () => {
  test('look-ups of one tick are one query, each id once', async () => {
    const { state, lookup } = makeLookup();
    const found = await Promise.all([lookup.find('a'), lookup.find('b'), lookup.find('a'), lookup.find('nobody')]);
    expect(found.map((account) => account?.id)).toEqual(['a', 'b', 'a', undefined]);
    expect(state.queries).toEqual([['a', 'b', 'nobody']]);
  });

  test('an answer serves for less than one second', async () => {
    const { state, lookup } = makeLookup();
    await lookup.find('a');
    state.now = 749;
    await lookup.find('a');
    expect(state.queries).toHaveLength(1);
    state.now = 750;
    await lookup.find('a');
    expect(state.queries).toHaveLength(2);
  });

  test('an answer that is sure to be dropped when it changes serves for a minute, and no longer than that is sure', async () => {
    const { state, lookup } = makeLookup();
    state.isTold = true;
    await lookup.find('a');
    state.now = 59_999;
    await lookup.find('a');
    expect(state.queries).toHaveLength(1);
    state.isTold = false;
    await lookup.find('a');
    expect(state.queries).toHaveLength(2);
    state.isTold = true;
    state.now = 119_999;
    await lookup.find('a');
    expect(state.queries).toHaveLength(3);
  });

  test('the age counts from the start of the query, not from its end', async () => {
    const { state, lookup } = makeLookup();
    const held = Promise.withResolvers<void>();
    state.hold = held.promise;
    const first = lookup.find('a');
    await new Promise(setImmediate);
    state.now = 700;
    held.resolve();
    await first;
    state.now = 750;
    await lookup.find('a');
    expect(state.queries).toHaveLength(2);
  });

  test('a clock that is set back makes nothing live longer', async () => {
    const { state, lookup } = makeLookup();
    state.now = 5_000;
    await lookup.find('a');
    state.now = 0;
    await lookup.find('a');
    expect(state.queries).toHaveLength(2);
  });

  test.each([['a'], [undefined]])('what is dropped (%j) is asked again at once', async (id) => {
    const { state, lookup } = makeLookup();
    await lookup.find('a');
    state.isDisabled = true;
    lookup.drop(id);
    expect((await lookup.find('a'))?.isDisabled).toBe(true);
  });

  test('what is dropped while it is being read is not remembered as it was', async () => {
    const { state, lookup } = makeLookup();
    const held = Promise.withResolvers<void>();
    state.hold = held.promise;
    const before = lookup.find('a');
    await new Promise(setImmediate);
    state.isDisabled = true;
    lookup.drop('a');
    held.resolve();
    expect((await before)?.isDisabled).toBe(false);
    expect((await lookup.find('a'))?.isDisabled).toBe(true);
  });

  test('the cache is bounded: the oldest leaves', async () => {
    const { state, lookup } = makeLookup();
    await lookup.find('first');
    await Promise.all(Array.from({ length: 10_000 }, (_, index) => lookup.find(`id-${index}`)));
    state.queries.length = 0;
    await lookup.find('id-9999');
    expect(state.queries).toEqual([]);
    await lookup.find('first');
    expect(state.queries).toEqual([['first']]);
  });

  test('a query that fails fails for everyone who waits, and the next one is tried anew', async () => {
    let isAway = true;
    const lookup = createAccountLookup({
      clock: () => 0,
      isTold: () => false,
      async load(ids) {
        if (isAway) throw new Error('away');
        return ids.map((id) => makeAccount(id));
      },
    });
    const outcomes = await Promise.allSettled([lookup.find('a'), lookup.find('b')]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected']);
    isAway = false;
    expect((await lookup.find('a'))?.id).toBe('a');
  });
});
