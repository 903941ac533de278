import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Database, isDatabaseUnavailable, openDatabase } from '../../../src/database/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { type DatabaseWay, openDatabaseWay } from '../../harness/database-way.ts';
import { silentLogger } from '../../harness/logger.ts';
import { until } from '../../harness/until.ts';

let testDatabase: TestDatabase;
let way: DatabaseWay;
let database: Database;
beforeAll(async () => {
  testDatabase = await openTestDatabase();
  way = await openDatabaseWay(testDatabase.url);
  database = openDatabase({ url: way.url, poolSize: 4, logger: silentLogger, answerTimeoutMs: 200 });
});
afterAll(async () => {
  await database.close();
  await way.cut();
  await testDatabase.close();
});

test('a database that falls silent is given up on like one that is away, and used again when it speaks', async () => {
  const askers = [() => database.pool.query('select 1'), () => database.knex.raw('select 1')];
  for (const ask of askers) await ask();
  way.silence();
  for (const ask of askers) {
    const fault = await ask().catch((error: unknown) => error);
    expect(isDatabaseUnavailable(fault)).toBe(true);
  }
  way.resume();
  for (const ask of askers) {
    await until(() =>
      ask().then(
        ({ rows }) => rows.length === 1,
        () => false,
      ),
    );
  }
});
