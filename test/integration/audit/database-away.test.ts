import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createAudit } from '../../../src/audit/index.ts';
import { type Database, isDatabaseUnavailable, openDatabase } from '../../../src/database/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { type DatabaseWay, openDatabaseWay } from '../../harness/database-way.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

let testDatabase: TestDatabase;
let way: DatabaseWay;
let database: Database;
beforeAll(async () => {
  testDatabase = await openTestDatabase();
  way = await openDatabaseWay(testDatabase.url);
  database = openDatabase({ url: way.url, poolSize: 4, logger: silentLogger });
});
afterAll(async () => {
  await database.close();
  await way.cut();
  await testDatabase.close();
});

test('with the database away an event is not recorded in pretence; what was enqueued comes when it is back', async () => {
  const audit = createAudit({ knex: database.knex, clock: Date.now, logger: silentLogger });
  const accountId = randomBytes(8).toString('hex');
  await audit.record({ type: 'account.created', accountId });
  await way.cut();

  const clientIds = Array.from({ length: 700 }, () => randomBytes(8).toString('hex'));
  for (const clientId of clientIds) {
    audit.enqueue({ type: 'token.issued', clientId, kind: 'client_credentials', scopes: [] });
  }
  for (const attempt of [() => audit.record({ type: 'account.disabled', accountId }), () => audit.flush()]) {
    const fault = await attempt().catch((error: unknown) => error);
    expect(isDatabaseUnavailable(fault)).toBe(true);
  }
  expect(audit.counts()).toEqual({ waiting: 700, dropped: 0 });

  await way.open();
  // Nobody flushes here: it comes back by itself.
  await until('no event waits', () => audit.counts().waiting === 0);
  await audit.close();
  const rows = await testDatabase.database.knex('audit_events').orderBy('id');
  expect(rows.map((row) => row.type).filter((type) => type !== 'token.issued')).toEqual(['account.created']);
  expect(rows.filter((row) => row.type === 'token.issued').map((row) => row.client_id)).toEqual(clientIds);
  expect(audit.counts()).toEqual({ waiting: 0, dropped: 0 });
});
