import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ApiKey } from '../../../src/api-keys/index.ts';
import { NODE_COMPILE_CACHE } from '../../harness/compile-cache.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { until } from '../../harness/until.ts';
import { API, type ApiKeysNode, createKey, insertClient, openNode } from './node.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;
const USING_PROCESS = fileURLToPath(new URL('./using-process.ts', import.meta.url));
const ALL_DAYS = { from: '2000-01-01', to: '2100-01-01' };

let testDatabase: TestDatabase;
let node: ApiKeysNode;
let elsewhere: ApiKeysNode;
let clientId: string;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  node = openNode(testDatabase);
  elsewhere = openNode(testDatabase);
  clientId = await insertClient(testDatabase);
});
afterAll(() => testDatabase.close());

const use = { api: API, address: '192.0.2.1' };
const useTimes = (at: ApiKeysNode, apiKey: ApiKey, times: number) =>
  Array.from({ length: times }, () => at.apiKeys.allow(apiKey, use)).filter(({ ok }) => ok).length;
const requestsOf = async (id: string) =>
  (await node.apiKeys.usage({ id }, ALL_DAYS)).reduce((sum, { requests }) => sum + requests, 0);

describe('use', () => {
  test('is reported per key, API and day, of all nodes, for a key and for an owner', async () => {
    const owner = await insertClient(testDatabase);
    const one = await createKey(node, owner);
    const other = await createKey(node, owner);
    node.clock.now = elsewhere.clock.now = Date.parse('2026-11-25T23:59:59Z');
    useTimes(node, one.apiKey, 3);
    useTimes(elsewhere, one.apiKey, 2);
    node.apiKeys.allow(other.apiKey, { address: undefined });
    node.clock.now += 1_000;
    useTimes(node, one.apiKey, 1);
    await Promise.all([node.apiKeys.flush(), elsewhere.apiKeys.flush()]);
    const ofOne = [
      { id: one.id, api: API, day: '2026-11-25', requests: 5 },
      { id: one.id, api: API, day: '2026-11-26', requests: 1 },
    ];
    expect(await node.apiKeys.usage({ id: one.id }, ALL_DAYS)).toEqual(ofOne);
    expect(await node.apiKeys.usage({ id: one.id }, { from: '2026-11-26', to: '2026-11-26' })).toEqual(ofOne.slice(1));
    const ofOwner = await node.apiKeys.usage({ owner: { kind: 'client', clientId: owner } }, ALL_DAYS);
    expect(ofOwner).toHaveLength(3);
    expect(ofOwner).toEqual(expect.arrayContaining([...ofOne, { id: other.id, day: '2026-11-25', requests: 1 }]));
    expect(await node.apiKeys.show(one.id)).toMatchObject({
      lastUsedAt: new Date(node.clock.now),
      lastUsedFrom: '192.0.2.1',
    });
  });

  test('that is older does not hide when a key was used last', async () => {
    const { apiKey, id } = await createKey(node, clientId);
    node.apiKeys.allow(apiKey, { ...use, address: '192.0.2.20' });
    await node.apiKeys.flush();
    elsewhere.clock.now = node.clock.now - 1;
    useTimes(elsewhere, apiKey, 1);
    await elsewhere.apiKeys.flush();
    expect(await node.apiKeys.show(id)).toMatchObject({ lastUsedFrom: '192.0.2.20' });
  });

  test('of many keys is one statement', async () => {
    const keys = await Promise.all(Array.from({ length: 20 }, () => createKey(node, clientId)));
    for (const { apiKey } of keys) useTimes(node, apiKey, 50);
    const statements: string[] = [];
    const note = ({ sql }: { sql: string }) => statements.push(sql);
    testDatabase.database.knex.on('query', note);
    await node.apiKeys.flush();
    await node.apiKeys.flush();
    testDatabase.database.knex.off('query', note);
    expect(statements).toHaveLength(1);
    for (const { id } of keys) expect(await requestsOf(id)).toBe(50);
  });

  test('is removed after 400 days, in batches', async () => {
    const { apiKey, id } = await createKey(node, clientId);
    for (let day = 0; day < 3; day += 1) {
      useTimes(node, apiKey, 1);
      node.clock.now += DAY_MS;
    }
    await node.apiKeys.flush();
    node.clock.now += 398 * DAY_MS;
    expect(await node.apiKeys.sweep(1)).toBe(1);
    await until('nothing is left to remove', async () => (await node.apiKeys.sweep(1)) === 0);
    expect(await requestsOf(id)).toBe(2);
    node.clock.now += DAY_MS;
    await until('nothing is left to remove', async () => (await node.apiKeys.sweep(1)) === 0);
    expect(await requestsOf(id)).toBe(1);
  });

  test('of a key that has gone keeps none of the others from being counted', async () => {
    const gone = await createKey(node, await insertClient(testDatabase));
    const staying = await createKey(node, clientId);
    useTimes(node, gone.apiKey, 1);
    useTimes(node, staying.apiKey, 4);
    await testDatabase.database.knex('api_keys').where({ id: gone.id }).delete();
    await node.apiKeys.flush();
    expect(await requestsOf(staying.id)).toBe(4);
  });

  test('is counted while owners are deleted, by several nodes at once: nobody waits in a circle', async () => {
    const { knex } = testDatabase.database;
    for (let round = 0; round < 10; round += 1) {
      const owner = await insertClient(testDatabase);
      const keys = await Promise.all(Array.from({ length: 12 }, () => createKey(node, owner)));
      for (const at of [node, elsewhere]) {
        for (const { apiKey } of round % 2 === 0 ? keys : keys.toReversed()) useTimes(at, apiKey, 2);
      }
      await Promise.all([
        node.apiKeys.flush(),
        knex.transaction(async (trx) => {
          await trx('clients').where({ id: owner }).delete();
          await node.apiKeys.removeOf(trx, { kind: 'client', clientId: owner });
        }),
        elsewhere.apiKeys.flush(),
      ]);
      expect(await knex('api_keys').where({ client_id: owner })).toEqual([]);
    }
  });
});

describe('a quota', () => {
  test('is one for all nodes, but for what they allow within one flush interval', async () => {
    const { apiKey } = await createKey(node, clientId, { quota: { requests: 100, windowSeconds: 3_600 } });
    elsewhere.clock.now = node.clock.now;
    expect(useTimes(node, apiKey, 60)).toBe(60);
    await node.apiKeys.flush();
    // Has not heard of it yet: it may use as much as it can until its own flush.
    expect(useTimes(elsewhere, apiKey, 30)).toBe(30);
    await elsewhere.apiKeys.flush();
    expect(useTimes(elsewhere, apiKey, 100)).toBe(10);
    await elsewhere.apiKeys.flush();
    expect(useTimes(elsewhere, apiKey, 100)).toBe(0);
    expect(useTimes(node, apiKey, 1)).toBe(1);
    await node.apiKeys.flush();
    expect(node.apiKeys.allow(apiKey, use)).toMatchObject({ ok: false, reason: 'quota_exceeded' });
  });

  test('is not given anew by a node whose clock is behind, nor by one that starts', async () => {
    const { apiKey } = await createKey(node, clientId, { quota: { requests: 10, windowSeconds: 60 } });
    const ahead = openNode(testDatabase);
    const behind = openNode(testDatabase);
    ahead.clock.now += 60_000;
    expect(useTimes(ahead, apiKey, 7)).toBe(7);
    await ahead.apiKeys.flush();
    expect(useTimes(behind, apiKey, 20)).toBe(10);
    await behind.apiKeys.flush();
    expect(useTimes(behind, apiKey, 20)).toBe(0);
    const restarted = openNode(testDatabase);
    restarted.clock.now = ahead.clock.now;
    expect(useTimes(restarted, apiKey, 1)).toBe(1);
    await restarted.apiKeys.flush();
    expect(useTimes(restarted, apiKey, 10)).toBe(2);
  });
});

/** Uses a key in a process of its own, until it is ended by that signal. */
async function useInProcess(id: string, signal: 'SIGKILL' | 'SIGTERM', flushSeconds: number, forMs: number) {
  const child = spawn(process.execPath, [USING_PROCESS, testDatabase.url, id, String(flushSeconds)], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NODE_COMPILE_CACHE },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said: { at: number; allowed: number }[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [at = 0, allowed = 0] = line.split(' ').map(Number);
    said.push({ at, allowed });
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await until('it has used the key for a while', () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    return said.length > 0 && (said.at(-1)?.at ?? 0) - (said[0]?.at ?? 0) >= forMs;
  });
  child.kill(signal);
  await ended;
  return said;
}

describe('a process that uses a key and', () => {
  test('is killed loses what it allowed within the last flush interval, and no more', async () => {
    const { id } = await createKey(node, clientId, { quota: { requests: 1_000_000_000, windowSeconds: 86_400 } });
    const said = await useInProcess(id, 'SIGKILL', 1, 2_500);
    const last = said.at(-1) ?? { at: 0, allowed: 0 };
    // A flush takes its time, on a busy machine some.
    const before = said.findLast(({ at }) => at <= last.at - 1_000 - 500)?.allowed ?? 0;
    expect(before).toBeGreaterThan(0);
    const counted = await requestsOf(id);
    expect(counted).toBeGreaterThanOrEqual(before);
    expect(counted).toBeLessThanOrEqual(last.allowed);
  });

  test('is told to end loses nothing', async () => {
    const { id } = await createKey(node, clientId);
    const said = await useInProcess(id, 'SIGTERM', 60, 300);
    const allowed = said.at(-1)?.allowed ?? 0;
    expect(allowed).toBeGreaterThan(0);
    expect(await requestsOf(id)).toBe(allowed);
  });
});
