import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createChangeFeed } from '../../../src/database/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { createOne, makeAccounts } from './accounts-fixture.ts';

let testDatabase: TestDatabase;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
});
afterAll(() => testDatabase.close());

describe('on several nodes', () => {
  test('what one disables, the others see when they are told, without waiting for the second to pass', async () => {
    const feed = createChangeFeed({
      url: testDatabase.url,
      knex: testDatabase.database.knex,
      logger: silentLogger,
    });
    const told = Promise.withResolvers<void>();
    // The clock stands still: only the feed can make the other node ask again.
    const other = makeAccounts(testDatabase, { clock: () => 0, changeFeed: feed }).accounts;
    const one = makeAccounts(testDatabase).accounts;
    const { id } = await createOne(one);
    await feed.start();
    try {
      feed.subscribe('accounts', (changed) => {
        if (changed === id || changed === undefined) told.resolve();
      });
      expect((await other.find(id))?.isDisabled).toBe(false);
      await one.disable(id);
      await told.promise;
      expect((await other.find(id))?.isDisabled).toBe(true);
    } finally {
      await feed.close();
    }
  });

  test('look-ups of one tick are one statement', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const created = [await createOne(accounts), await createOne(accounts), await createOne(accounts)];
    const statements: string[] = [];
    const listen = ({ sql }: { sql: string }) => statements.push(sql);
    testDatabase.database.knex.on('query', listen);
    const found = await Promise.all([...created, ...created].map(({ id }) => accounts.find(id)));
    testDatabase.database.knex.removeListener('query', listen);
    expect(found).toEqual([...created, ...created]);
    expect(statements).toHaveLength(1);
  });
});

test('pages go through all accounts in the order of their addresses, each once', async () => {
  const { accounts } = makeAccounts(testDatabase);
  for (const _ of [1, 2, 3, 4, 5]) await createOne(accounts);
  const seen: string[] = [];
  for (let after: string | undefined; ; after = seen.at(-1)) {
    const page = await accounts.list({ limit: 2, after });
    if (page.length === 0) break;
    expect(page.length).toBeLessThanOrEqual(2);
    seen.push(...page.map((account) => account.email));
  }
  const keys = seen.map((email) => email.toLowerCase());
  expect(keys).toEqual([...new Set(keys)].sort());
  const [row] = await testDatabase.database.knex('accounts').count('* as count');
  expect(seen).toHaveLength(Number(row?.count));
});
