import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { ApiKey } from '../../../src/api-keys/api-key.ts';
import type { ApiKeyIncrements, ApiKeyTotal } from '../../../src/api-keys/api-key-counts-store.ts';
import { createUseMeter, type UseMeter } from '../../../src/api-keys/use-meter.ts';
import { silentLogger } from '../../harness/loggers.ts';

const NOON = Date.parse('2026-11-25T12:00:00Z');
const API = 'urn:example:orders';

let now: number;
let written: ApiKeyIncrements[][];
let answer: (increments: readonly ApiKeyIncrements[]) => Promise<readonly ApiKeyTotal[]>;
let meter: UseMeter;

function aKey(changes: Partial<ApiKey> = {}): ApiKey {
  const at = new Date(NOON);
  return {
    id: 'a'.repeat(16),
    name: 'test',
    owner: { kind: 'client', clientId: 'service' },
    scopes: [],
    apis: [API],
    allowedAddresses: [],
    isDisabled: false,
    createdAt: at,
    updatedAt: at,
    ...changes,
  };
}

const use = { api: API, address: '192.0.2.1' };
const allow = (key: ApiKey, times = 1) => Array.from({ length: times }, () => meter.allow(key, use));
const allowedOf = (verdicts: readonly { ok: boolean }[]) => verdicts.filter(({ ok }) => ok).length;

/** A database of which this is the only node. */
function ownDatabase() {
  const totals = new Map<string, ApiKeyTotal>();
  return async (increments: readonly ApiKeyIncrements[]) =>
    increments.map(({ id, window, used }) => {
      const before = totals.get(id);
      const isSame = before?.window.startsAt === window.startsAt;
      const total = { id, window, used: used + (isSame ? (before?.used ?? 0) : 0) };
      totals.set(id, total);
      return total;
    });
}

beforeEach(() => {
  // What one test leaves to be written must not be written in the next.
  jest.useFakeTimers();
  now = NOON;
  written = [];
  answer = ownDatabase();
  meter = createUseMeter({
    clock: () => now,
    flushSeconds: 1,
    logger: silentLogger,
    async write(increments) {
      written.push(structuredClone([...increments]));
      return answer(increments);
    },
  });
});
afterEach(() => {
  jest.useRealTimers();
});

describe('a quota', () => {
  const quota = { requests: 3, windowSeconds: 60 };

  test('lets through so many per window and tells what remains and when the next one begins', () => {
    now = NOON + 20_000;
    const key = aKey({ quota });
    expect(allow(key, 3).map((verdict) => verdict.quota?.remaining)).toEqual([2, 1, 0]);
    expect(meter.allow(key, use)).toEqual({
      ok: false,
      reason: 'quota_exceeded',
      retryAfterSeconds: 40,
      quota: { requests: 3, windowSeconds: 60, remaining: 0, resetSeconds: 40 },
    });
    now = NOON + 59_999;
    expect(meter.allow(key, use)).toMatchObject({ ok: false, retryAfterSeconds: 1 });
    now = NOON + 60_000;
    expect(allowedOf(allow(key, 5))).toBe(3);
  });

  test('counts on over flushes: what is written, under way and new adds up', async () => {
    const key = aKey({ quota: { requests: 6, windowSeconds: 60 } });
    allow(key, 2);
    await meter.flush();
    allow(key, 2);
    const flushing = meter.flush();
    expect(meter.allow(key, use).quota?.remaining).toBe(1);
    await flushing;
    expect(meter.allow(key, use).quota?.remaining).toBe(0);
    expect(meter.allow(key, use).ok).toBe(false);
  });

  test('learns of what other nodes have used with its own flush', async () => {
    const key = aKey({ quota: { requests: 100, windowSeconds: 60 } });
    answer = async (increments) => increments.map(({ id, window }) => ({ id, window, used: 99 }));
    expect(allow(key)[0]?.quota?.remaining).toBe(99);
    await meter.flush();
    expect(allow(key)[0]?.quota?.remaining).toBe(0);
    expect(allow(key)[0]).toMatchObject({ ok: false, reason: 'quota_exceeded' });
  });

  test('begins at nothing in the next window, whatever was written of the one before', async () => {
    const key = aKey({ quota });
    allow(key, 3);
    await meter.flush();
    now += 60_000;
    expect(allow(key)[0]?.quota?.remaining).toBe(2);
  });

  test('of one key is nothing to another', () => {
    allow(aKey({ quota }), 3);
    expect(allow(aKey({ quota, id: 'b'.repeat(16) }))[0]?.ok).toBe(true);
  });

  test('that is changed begins to count anew', () => {
    allow(aKey({ quota }), 3);
    expect(allow(aKey({ quota: { requests: 3, windowSeconds: 3_600 } }))[0]?.quota?.remaining).toBe(2);
  });

  test('is not taken from by what is refused', () => {
    const key = aKey({ quota, ratePerSecond: 1 });
    expect(allowedOf(allow(key, 10))).toBe(1);
    now += 1_000;
    expect(allow(key)[0]?.quota?.remaining).toBe(1);
  });
});

describe('a rate', () => {
  test('lets through as many as it says within a second', () => {
    const key = aKey({ ratePerSecond: 5 });
    expect(allowedOf(allow(key, 20))).toBe(5);
    expect(meter.allow(key, use)).toEqual({
      ok: false,
      reason: 'rate_exceeded',
      retryAfterSeconds: 1,
      quota: undefined,
    });
    now += 1_000;
    expect(allowedOf(allow(key, 20))).toBe(5);
  });

  test('holds on when a flush has forgotten what is idle', async () => {
    const key = aKey({ ratePerSecond: 1 });
    allow(key);
    now += 500;
    await meter.flush();
    expect(allow(key)[0]?.ok).toBe(false);
  });
});

describe('an allow-list', () => {
  test('lets through its addresses alone', () => {
    const key = aKey({ allowedAddresses: ['192.0.2.0/24'] });
    expect(meter.allow(key, use).ok).toBe(true);
    expect(meter.allow(key, { ...use, address: '198.51.100.1' })).toEqual({ ok: false, reason: 'address_not_allowed' });
    expect(meter.allow(key, { ...use, address: undefined })).toEqual({ ok: false, reason: 'address_required' });
    expect(meter.counts()).toMatchObject({ allowed: 1, address_not_allowed: 1, address_required: 1 });
  });

  test('that is not there lets through who says no address', () => {
    expect(meter.allow(aKey(), { ...use, address: undefined }).ok).toBe(true);
  });
});

describe('what is written', () => {
  test('is one line per key, with its uses per API and day (UTC), and who used it last', async () => {
    const key = aKey();
    now = Date.parse('2026-11-25T23:59:59.900Z');
    allow(key, 2);
    meter.allow(key, { api: 'urn:example:other', address: '192.0.2.2' });
    now += 200;
    meter.allow(key, { ...use, address: '192.0.2.9' });
    await meter.flush();
    expect(written).toEqual([
      [
        {
          id: key.id,
          window: { windowSeconds: 0, startsAt: 0 },
          used: 4,
          lastUsedAt: now,
          lastUsedFrom: '192.0.2.9',
          days: [
            { api: API, day: '2026-11-25', requests: 2 },
            { api: 'urn:example:other', day: '2026-11-25', requests: 1 },
            { api: API, day: '2026-11-26', requests: 1 },
          ],
        },
      ],
    ]);
    await meter.flush();
    expect(written).toHaveLength(1);
  });

  test('stays while the database is away, and is written when it is back', async () => {
    const key = aKey({ quota: { requests: 100, windowSeconds: 60 } });
    const back = answer;
    answer = async () => {
      throw new Error('away');
    };
    allow(key, 2);
    await expect(meter.flush()).rejects.toThrow('away');
    expect(allow(key)[0]?.quota?.remaining).toBe(97);
    answer = back;
    await meter.flush();
    expect(written.at(-1)?.[0]).toMatchObject({ used: 3, days: [{ requests: 3 }] });
    expect(allow(key)[0]?.quota?.remaining).toBe(96);
  });

  test('of a window that is over does not count in the next one', async () => {
    const key = aKey({ quota: { requests: 10, windowSeconds: 60 } });
    const back = answer;
    answer = async () => {
      throw new Error('away');
    };
    allow(key, 4);
    await expect(meter.flush()).rejects.toThrow('away');
    now += 60_000;
    allow(key, 2);
    answer = back;
    await meter.flush();
    expect(written.at(-1)?.[0]).toMatchObject({ used: 2, days: [{ requests: 6 }] });
  });

  test('that fails while the next window has begun does not count there either', async () => {
    const key = aKey({ quota: { requests: 10, windowSeconds: 60 } });
    const back = answer;
    let fail: () => void = () => undefined;
    answer = () =>
      new Promise((_, reject) => {
        fail = () => reject(new Error('away'));
      });
    allow(key, 4);
    const failing = meter.flush();
    now += 60_000;
    expect(allow(key, 2)[1]?.quota?.remaining).toBe(8);
    fail();
    await expect(failing).rejects.toThrow('away');
    expect(allow(key)[0]?.quota?.remaining).toBe(7);
    answer = back;
    await meter.flush();
    expect(written.at(-1)?.[0]).toMatchObject({ used: 3, lastUsedAt: now, days: [{ requests: 7 }] });
  });

  test('travels in statements of a thousand keys', async () => {
    for (let i = 0; i < 2_500; i += 1) allow(aKey({ id: String(i).padStart(16, '0') }));
    await meter.flush();
    expect(written.map((batch) => batch.length)).toEqual([1_000, 1_000, 500]);
    expect(new Set(written.flat().map(({ id }) => id)).size).toBe(2_500);
  });

  test('is all that was allowed before the end', async () => {
    allow(aKey(), 7);
    await meter.close();
    expect(written.flat()).toMatchObject([{ used: 7 }]);
  });

  test('waits for no longer than the interval', async () => {
    allow(aKey(), 3);
    await jest.advanceTimersByTimeAsync(999);
    expect(written).toHaveLength(0);
    await jest.advanceTimersByTimeAsync(1);
    expect(written).toHaveLength(1);
    allow(aKey());
    await jest.advanceTimersByTimeAsync(1_000);
    expect(written).toHaveLength(2);
  });

  test('is tried again by itself while it can not be written', async () => {
    const back = answer;
    answer = async () => {
      throw new Error('away');
    };
    allow(aKey());
    await jest.advanceTimersByTimeAsync(3_000);
    expect(written).toHaveLength(3);
    answer = back;
    await jest.advanceTimersByTimeAsync(10_000);
    expect(written).toHaveLength(4);
  });
});
