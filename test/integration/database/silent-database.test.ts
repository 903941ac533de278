import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Database, isDatabaseUnavailable, openDatabase } from '../../../src/database/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { type DatabaseWay, openDatabaseWay } from '../../harness/database-way.ts';
import { silentLogger } from '../../harness/loggers.ts';

/** Of the two pools together. */
const POOL_SIZE = 4;
/** The time that an answer is waited for is cut short in most of these tests; what counts is what happens after it. */
const ANSWER_TIMEOUT_MS = 300;
const LONG_ANSWER_TIMEOUT_MS = 2_500;
/** How much later than the first somebody asks: not long before an answer to the first is given up. */
const LATE_MS = 2_000;

let testDatabase: TestDatabase;
beforeAll(async () => {
  testDatabase = await openTestDatabase();
});
afterAll(() => testDatabase.close());

type Ask = (database: Database) => Promise<{ rows: unknown[] }>;

const askers: [name: string, ask: Ask][] = [
  ['the pool of the token store', ({ pool }) => pool.query('select 1')],
  ['knex', ({ knex }) => knex.raw('select 1')],
  ['a transaction', ({ knex }) => knex.transaction((trx) => trx.raw('select 1'))],
];

/** As many connections as there may be, every one of them in use at once. */
async function fill(database: Database, ask: Ask): Promise<void> {
  await Promise.all(Array.from({ length: POOL_SIZE / 2 }, () => ask(database)));
}

type Connected = { database: Database; way: DatabaseWay; ask: Ask };

/** Every way to ask at the same time, each with pools and a way of its own, so that none hears of another's silence. */
async function withEach(check: (connected: Connected) => Promise<void>, answerTimeoutMs?: number): Promise<void> {
  const checks = askers.map(async ([name, ask]) => {
    const way = await openDatabaseWay(testDatabase.url);
    const options = answerTimeoutMs === undefined ? undefined : { answerTimeoutMs };
    const database = openDatabase({ url: way.url, poolSize: POOL_SIZE, logger: silentLogger, ...options });
    try {
      await fill(database, ask);
      await check({ database, way, ask });
    } catch (error) {
      throw new Error(name, { cause: error });
    } finally {
      await way.cut();
      await database.close();
    }
  });
  await Promise.all(checks);
}

test('a database that falls silent is given up on, as one that is away', () =>
  withEach(async ({ database, way, ask }) => {
    way.silence();
    expect(isDatabaseUnavailable(await ask(database).catch((error: unknown) => error))).toBe(true);
  }, ANSWER_TIMEOUT_MS));

test('a connection on which no answer came is never used again', () =>
  withEach(async ({ database, way, ask }) => {
    const before = way.connectionCount();
    way.silence();
    await Promise.all(Array.from({ length: POOL_SIZE / 2 }, () => ask(database).catch(() => undefined)));
    way.resume();
    // The first try: no connection of before is left in the pool that it could wait on.
    expect((await ask(database)).rows).toHaveLength(1);
    expect(way.connectionCount()).toBeGreaterThan(before);
  }, ANSWER_TIMEOUT_MS));

test('the database is back at once for everyone who asked again and again in the meantime', () =>
  withEach(async ({ database, way, ask }) => {
    way.silence();
    const askedUntil = performance.now() + 8_000;
    const patient = Array.from({ length: 12 }, async () => {
      while (performance.now() < askedUntil) {
        const { rows } = await ask(database).catch(() => ({ rows: [] }));
        if (rows.length > 0) return true;
      }
      return false;
    });
    const refusal = await ask(database).catch((error: unknown) => error);
    expect(isDatabaseUnavailable(refusal)).toBe(true);
    way.resume();
    const resumed = performance.now();
    expect(await Promise.all(patient)).not.toContain(false);
    // A connection that was being made in the silence is given up on after three seconds.
    expect(performance.now() - resumed).toBeLessThan(4_000);
  }, ANSWER_TIMEOUT_MS));

test('one silence is enough: nobody else waits for a connection of before', () =>
  withEach(async ({ database, way, ask }) => {
    for (const [, each] of askers) await fill(database, each);
    way.silence();
    await ask(database).catch(() => undefined);
    way.resume();
    // Whoever did would be refused, as no answer comes on it.
    for (const [, each] of askers) await fill(database, each);
  }, ANSWER_TIMEOUT_MS));

test('who asked on another connection just before the silence was noticed does not wait the whole time once more', () =>
  withEach(async ({ database, way, ask }) => {
    for (const [, each] of askers) await fill(database, each);
    way.silence();
    const first = ask(database).catch(() => undefined);
    await delay(LATE_MS);
    // One on each pool: a second connection is all that is left of knex's.
    const asked = performance.now();
    const late = askers.slice(0, 2).map(([, each]) => each(database).catch(() => performance.now()));
    await first;
    // Without an end they would hear of it when their own time is over.
    for (const heard of await Promise.all(late)) expect(Number(heard) - asked).toBeLessThan(LONG_ANSWER_TIMEOUT_MS);
  }, LONG_ANSWER_TIMEOUT_MS));

test('a caller hears of the silence within six seconds where nothing is set otherwise', () =>
  withEach(async ({ database, way, ask }) => {
    way.silence();
    const asked = performance.now();
    await expect(ask(database)).rejects.toThrow();
    expect(performance.now() - asked).toBeLessThan(6_000);
  }));
