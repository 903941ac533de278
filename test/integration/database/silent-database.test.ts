import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Database, isDatabaseUnavailable, openDatabase } from '../../../src/database/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { type DatabaseWay, openDatabaseWay } from '../../harness/database-way.ts';
import { silentLogger } from '../../harness/logger.ts';

/** Of the two pools together. */
const POOL_SIZE = 4;
/** The time that an answer is waited for is cut short in most of these tests; what counts is what happens after it. */
const ANSWER_TIMEOUT_MS = 300;

let testDatabase: TestDatabase;
let way: DatabaseWay;
let database: Database;
beforeEach(async () => {
  testDatabase = await openTestDatabase();
  way = await openDatabaseWay(testDatabase.url);
  database = openWayDatabase({ answerTimeoutMs: ANSWER_TIMEOUT_MS });
});
afterEach(async () => {
  await way.cut();
  await database.close();
  await testDatabase.close();
});

function openWayDatabase(options: { answerTimeoutMs?: number } = {}): Database {
  return openDatabase({ url: way.url, poolSize: POOL_SIZE, logger: silentLogger, ...options });
}

const askers: [name: string, ask: () => Promise<{ rows: unknown[] }>][] = [
  ['the pool of the token store', () => database.pool.query('select 1')],
  ['knex', () => database.knex.raw('select 1')],
  ['a transaction', () => database.knex.transaction((trx) => trx.raw('select 1'))],
];

/** As many connections as there may be, every one of them in use at once. */
async function fill(ask: () => Promise<unknown>): Promise<void> {
  await Promise.all(Array.from({ length: POOL_SIZE / 2 }, ask));
}

describe.each(askers)('%s', (_, ask) => {
  test('gives up on a database that falls silent, as on one that is away', async () => {
    await fill(ask);
    way.silence();
    expect(isDatabaseUnavailable(await ask().catch((error: unknown) => error))).toBe(true);
  });

  test('never uses a connection again on which no answer came', async () => {
    await fill(ask);
    const before = way.connectionCount();
    way.silence();
    await Promise.all(Array.from({ length: POOL_SIZE / 2 }, () => ask().catch(() => undefined)));
    way.resume();
    // The first try: no connection of before is left in the pool that it could wait on.
    expect((await ask()).rows).toHaveLength(1);
    expect(way.connectionCount()).toBeGreaterThan(before);
  });

  test('is back at once for everyone who asked again and again in the meantime', async () => {
    await fill(ask);
    way.silence();
    const askedUntil = performance.now() + 8_000;
    const patient = Array.from({ length: 12 }, async () => {
      while (performance.now() < askedUntil) {
        const { rows } = await ask().catch(() => ({ rows: [] }));
        if (rows.length > 0) return true;
      }
      return false;
    });
    const refusal = await ask().catch((error: unknown) => error);
    expect(isDatabaseUnavailable(refusal)).toBe(true);
    way.resume();
    const resumed = performance.now();
    expect(await Promise.all(patient)).not.toContain(false);
    // A connection that was being made in the silence is given up on after three seconds.
    expect(performance.now() - resumed).toBeLessThan(4_000);
  });
});

test.each(askers)('%s falling silent once is enough: nobody else waits for a connection of before', async (_, ask) => {
  for (const [, each] of askers) await fill(each);
  way.silence();
  await ask().catch(() => undefined);
  way.resume();
  for (const [, each] of askers) {
    const asked = performance.now();
    await Promise.all(Array.from({ length: POOL_SIZE / 2 }, each));
    expect(performance.now() - asked).toBeLessThan(ANSWER_TIMEOUT_MS);
  }
});

test.each(askers)('%s says so within six seconds where nothing is set otherwise', async (_, ask) => {
  const impatient = database;
  database = openWayDatabase();
  try {
    await fill(ask);
    way.silence();
    const started = performance.now();
    await expect(ask()).rejects.toThrow();
    expect(performance.now() - started).toBeLessThan(6_000);
  } finally {
    await impatient.close();
  }
});
