import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { type Audit, type AuditEvent, createAudit } from '../../../src/audit/index.ts';
import { openDatabase } from '../../../src/database/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

let testDatabase: TestDatabase;
let audit: Audit;
let now = Date.UTC(2026, 10, 24);

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  audit = createAudit({ knex: testDatabase.database.knex, clock: () => now, logger: silentLogger });
});
afterAll(async () => {
  await audit.close();
  await testDatabase.close();
});

const freshId = () => randomBytes(8).toString('hex');
const issued = (clientId: string): AuditEvent => ({
  type: 'token.issued',
  clientId,
  kind: 'client_credentials',
  scopes: ['orders:read'],
});

async function accountsRecordedAfter(id: string): Promise<(string | undefined)[]> {
  return (await audit.tail({ limit: 10_000, afterId: id })).map((record) => record.accountId);
}

/** Records one event to start from, so that a test sees its own only. */
async function startingPoint(): Promise<string> {
  now += 60_000;
  await audit.record({ type: 'account.created', accountId: freshId() });
  const [record] = await audit.tail({ limit: 1 });
  return record?.id ?? '0';
}

describe('what is recorded', () => {
  test('an event is read back with its members and where it came from', async () => {
    const accountId = freshId();
    const clientId = freshId();
    const grantId = freshId();
    const resources = ['urn:example:orders'];
    await audit.record(
      { type: 'consent.granted', accountId, clientId, grantId, scopes: ['openid', 'orders:read'], resources },
      { requestId: 'req-1', address: '2001:db8::1', actor: { kind: 'account', id: accountId } },
    );
    const [record] = await audit.tail({ limit: 1 });
    expect(record).toEqual({
      id: expect.stringMatching(/^\d+$/),
      occurredAt: new Date(now),
      type: 'consent.granted',
      accountId,
      clientId,
      actor: { kind: 'account', id: accountId },
      requestId: 'req-1',
      address: '2001:db8::1',
      details: { grantId, scopes: ['openid', 'orders:read'], resources },
    });
  });

  test('an event recorded within a transaction lives and dies with it', async () => {
    const start = await startingPoint();
    const { knex } = testDatabase.database;
    const [kept, undone] = [freshId(), freshId()];
    await knex.transaction((trx) => audit.recordWithin(trx, { type: 'account.disabled', accountId: kept }));
    const undoing = knex.transaction(async (trx) => {
      await audit.recordWithin(trx, { type: 'account.disabled', accountId: undone });
      throw new Error('undo');
    });
    await expect(undoing).rejects.toThrow('undo');
    expect(await accountsRecordedAfter(start)).toEqual([kept]);
  });

  test('a record stands in the database as soon as it resolves', async () => {
    const accountId = freshId();
    await audit.record({ type: 'account.deleted', accountId });
    const other = openDatabase({ url: testDatabase.url, poolSize: 2, logger: silentLogger });
    const rows = await other.knex('audit_events').where({ account_id: accountId });
    await other.close();
    expect(rows).toHaveLength(1);
  });
});

describe('the record is append-only', () => {
  const statements = [
    `update audit_events set type = 'account.created'`,
    'update audit_events set type = type where false',
    'delete from audit_events',
    'truncate audit_events',
    'truncate audit_events cascade',
    `insert into audit_events (id, occurred_at, type, details) overriding system value
       select id, occurred_at, type, details from audit_events limit 1 on conflict (id) do update set type = 'changed'`,
  ];

  test.each(statements)('refused: %s', async (statement) => {
    await audit.record({ type: 'account.created', accountId: freshId() });
    const before = await audit.tail({ limit: 10_000 });
    await expect(testDatabase.database.knex.raw(statement)).rejects.toMatchObject({ code: '42501' });
    expect(await audit.tail({ limit: 10_000 })).toEqual(before);
  });

  test('also to who replays as a replica', async () => {
    const deleting = testDatabase.database.knex.transaction(async (trx) => {
      await trx.raw(`set local session_replication_role = replica`);
      await trx.raw('delete from audit_events');
    });
    await expect(deleting).rejects.toMatchObject({ code: '42501' });
  });
});

describe('order', () => {
  test('events have ids in the order in which they were enqueued, over many statements', async () => {
    const start = await startingPoint();
    const ids = Array.from({ length: 1_234 }, freshId);
    for (const id of ids) audit.enqueue(issued(id));
    await audit.flush();
    const records = await audit.tail({ limit: 10_000, afterId: start });
    expect(records.map((record) => record.clientId)).toEqual(ids);
  });

  test('the tail gives the newest records, oldest of them first; following along gives the next ones', async () => {
    const start = await startingPoint();
    const ids = Array.from({ length: 5 }, freshId);
    for (const accountId of ids) await audit.record({ type: 'account.updated', accountId });
    expect((await audit.tail({ limit: 2 })).map((record) => record.accountId)).toEqual(ids.slice(-2));
    const next = await audit.tail({ limit: 2, afterId: start });
    expect(next.map((record) => record.accountId)).toEqual(ids.slice(0, 2));
    expect(await accountsRecordedAfter(next.at(-1)?.id ?? '')).toEqual(ids.slice(2));
  });

  test('the tail can be narrowed to types', async () => {
    const start = await startingPoint();
    const accountId = freshId();
    await audit.record({ type: 'account.updated', accountId });
    await audit.record({ type: 'account.disabled', accountId });
    await audit.record({ type: 'account.enabled', accountId });
    const records = await audit.tail({ limit: 9, afterId: start, types: ['account.updated', 'account.enabled'] });
    expect(records.map((record) => record.type)).toEqual(['account.updated', 'account.enabled']);
  });

  test('who follows along overlooks no event whose transaction commits late', async () => {
    const start = await startingPoint();
    const [early, late] = [freshId(), freshId()];
    const slow = await testDatabase.database.knex.transaction();
    await audit.recordWithin(slow, { type: 'account.created', accountId: early });
    await audit.record({ type: 'account.created', accountId: late });
    expect(await accountsRecordedAfter(start)).toEqual([]);
    await slow.commit();
    expect(await accountsRecordedAfter(start)).toEqual([early, late]);
  });

  test('a number that stays missing is waited for only so long', async () => {
    const start = await startingPoint();
    const slow = await testDatabase.database.knex.transaction();
    await audit.recordWithin(slow, { type: 'account.created', accountId: freshId() });
    await slow.rollback();
    const accountId = freshId();
    await audit.record({ type: 'account.created', accountId });
    expect(await accountsRecordedAfter(start)).toEqual([]);
    now += 5_001;
    expect(await accountsRecordedAfter(start)).toEqual([accountId]);
  });
});

describe('closing', () => {
  test('closing loses nothing that was enqueued before, nor what a flush under way has not reached', async () => {
    const start = await startingPoint();
    const closing = createAudit({ knex: testDatabase.database.knex, clock: () => now, logger: silentLogger });
    const ids = Array.from({ length: 2_500 }, freshId);
    for (const id of ids) closing.enqueue(issued(id));
    const flushing = closing.flush();
    const lastId = freshId();
    closing.enqueue(issued(lastId));
    await closing.close();
    await flushing;
    const records = await audit.tail({ limit: 10_000, afterId: start });
    expect(records.map((record) => record.clientId)).toEqual([...ids, lastId]);
    expect(closing.counts()).toEqual({ waiting: 0, dropped: 0 });
  });

  test('what is enqueued is written without anybody asking for it', async () => {
    const start = await startingPoint();
    const clientId = freshId();
    audit.enqueue(issued(clientId));
    const records = await until('something is recorded', async () => {
      const tail = await audit.tail({ limit: 9, afterId: start });
      return tail.length > 0 && tail;
    });
    expect(records.map((record) => record.clientId)).toEqual([clientId]);
  });
});

describe('an event that does not fit its type', () => {
  const unfit = { type: 'client.created', clientId: 'shop', clientSecret: 'hunter2' } as AuditEvent;

  test('is refused when it is recorded', async () => {
    await expect(audit.record(unfit)).rejects.toThrow('clientSecret');
    await expect(audit.recordWithin(testDatabase.database.knex, unfit)).rejects.toThrow('clientSecret');
  });

  test('does not disturb who enqueues it, is not written, and its values stay out of the log', async () => {
    const lines: string[] = [];
    const logger = pino({ base: null }, { write: (line: string) => lines.push(line) });
    const strict = createAudit({ knex: testDatabase.database.knex, clock: () => now, logger });
    strict.enqueue(unfit);
    await strict.close();
    expect(await testDatabase.database.knex('audit_events').where({ client_id: 'shop' })).toEqual([]);
    expect(lines.join('')).toContain('client.created');
    expect(lines.join('')).not.toContain('hunter2');
  });
});
