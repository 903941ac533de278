import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import type { ApiKey } from '../../../src/api-keys/api-key.ts';
import type { UseMeter } from '../../../src/api-keys/use-meter.ts';
import { createUseMeters } from '../../../src/api-keys/use-meters.ts';
import { silentLogger } from '../../harness/loggers.ts';

const NOON = Date.parse('2026-11-25T12:00:00Z');
const API = 'urn:example:orders';

let written: string[];
let meters: UseMeter;
beforeEach(() => {
  jest.useFakeTimers({ now: NOON });
  written = [];
  meters = createUseMeters({
    clock: Date.now,
    flushSeconds: 2,
    logger: silentLogger,
    async write(increments) {
      written.push(...increments.map(({ id, used }) => `${id.charAt(0)} ${used}`));
      return increments;
    },
  });
});
afterEach(() => {
  jest.useRealTimers();
});

function use(id: string, quota?: ApiKey['quota']) {
  const at = new Date(NOON);
  const key: ApiKey = {
    id: id.repeat(16),
    name: 'test',
    owner: { kind: 'client', clientId: 'service' },
    scopes: [],
    apis: [API],
    allowedAddresses: [],
    isDisabled: false,
    createdAt: at,
    updatedAt: at,
    ...(quota && { quota }),
  };
  return meters.allow(key, { api: API, address: '192.0.2.1' });
}

test('the use of a key with a quota is written after the interval, that of another one after ten', async () => {
  use('q', { requests: 5, windowSeconds: 60 });
  use('n');
  use('n');
  await jest.advanceTimersByTimeAsync(1_999);
  expect(written).toEqual([]);
  await jest.advanceTimersByTimeAsync(1);
  expect(written).toEqual(['q 1']);
  await jest.advanceTimersByTimeAsync(17_999);
  expect(written).toEqual(['q 1']);
  await jest.advanceTimersByTimeAsync(1);
  expect(written).toEqual(['q 1', 'n 2']);
});

test('a flush, and the end, write the uses of every key', async () => {
  use('q', { requests: 5, windowSeconds: 60 });
  use('n');
  await meters.flush();
  expect(written).toEqual(['q 1', 'n 1']);
  use('q', { requests: 5, windowSeconds: 60 });
  use('n');
  await meters.close();
  expect(written).toEqual(['q 1', 'n 1', 'q 1', 'n 1']);
});

test('the answers for all keys are counted together', () => {
  use('n');
  expect(use('q', { requests: 1, windowSeconds: 60 }).ok).toBe(true);
  expect(use('q', { requests: 1, windowSeconds: 60 }).ok).toBe(false);
  expect(meters.counts()).toMatchObject({ allowed: 2, quota_exceeded: 1 });
});
