import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { isLive, parseApiKey } from '../../../src/api-keys/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';
import { API, type ApiKeysNode, createKey, insertAccount, insertClient, openNode, SCOPE } from './node.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;

let testDatabase: TestDatabase;
let node: ApiKeysNode;
let clientId: string;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  node = openNode(testDatabase);
  clientId = await insertClient(testDatabase);
});
afterAll(() => testDatabase.close());

const auditedOf = (id: string) => node.audited.filter((change) => change.id === id).map(({ action }) => action);

describe('a key', () => {
  test('comes with all that it was made with, and is good for its own secret alone', async () => {
    const settings = {
      name: 'nightly export',
      expiresAt: new Date(node.clock.now + DAY_MS),
      allowedAddresses: ['192.0.2.0/24'],
      quota: { requests: 1_000, windowSeconds: 60 },
      ratePerSecond: 5,
    };
    const { key, apiKey, id, secret } = await createKey(node, clientId, settings);
    expect(parseApiKey(key)).toEqual({ id, secret });
    expect(apiKey).toMatchObject({ ...settings, scopes: [SCOPE], apis: [API], owner: { kind: 'client', clientId } });
    expect(await node.apiKeys.find(id)).toEqual(apiKey);
    expect(await node.apiKeys.show(id)).toEqual(apiKey);
    expect(await node.apiKeys.verify(id, secret)).toBe(true);
    const other = await createKey(node, clientId);
    expect(await node.apiKeys.verify(id, other.secret)).toBe(false);
    expect(await node.apiKeys.verify(other.id, secret)).toBe(false);
    expect(auditedOf(id)).toEqual(['created']);
  });

  test('that is malformed or has a wrong checksum never reaches the database', async () => {
    const { id, secret } = await createKey(node, clientId);
    const cold = openNode(testDatabase);
    const statements: string[] = [];
    const note = ({ sql }: { sql: string }) => statements.push(sql);
    const { knex } = testDatabase.database;
    knex.on('query', note);
    try {
      const changed = `${secret[0] === 'a' ? 'b' : 'a'}${secret.slice(1)}`;
      for (const wrong of [changed, '', secret.slice(1), `${secret}0`, `${'0'.repeat(43)}${secret.slice(43)}`]) {
        expect(await cold.apiKeys.verify(id, wrong)).toBe(false);
      }
      expect(await cold.apiKeys.find('not an id')).toBeUndefined();
      expect(await cold.apiKeys.show(`tsk_${id}`)).toBeUndefined();
      expect(await cold.apiKeys.revoke('x'.repeat(1_000))).toMatchObject({ ok: false, code: 'not_found' });
      expect(statements).toEqual([]);
      expect(await cold.apiKeys.verify(id, secret)).toBe(true);
      expect(statements).toHaveLength(1);
    } finally {
      knex.off('query', note);
    }
  });

  test('is found without a statement, once it was looked up', async () => {
    const { id, secret } = await createKey(node, clientId);
    await node.apiKeys.find(id);
    const statements: string[] = [];
    const note = ({ sql }: { sql: string }) => statements.push(sql);
    testDatabase.database.knex.on('query', note);
    try {
      const apiKey = await node.apiKeys.find(id);
      expect(await node.apiKeys.verify(id, secret)).toBe(true);
      expect(apiKey && node.apiKeys.allow(apiKey, { api: API, address: '192.0.2.1' }).ok).toBe(true);
      expect(statements).toEqual([]);
    } finally {
      testDatabase.database.knex.off('query', note);
    }
  });

  test('stands in no table: neither the value, nor its secret in any form, nor one that was rolled away', async () => {
    const { key, id } = await createKey(node, clientId);
    const rolled = await node.apiKeys.roll(id);
    const keys = [key, rolled.ok ? rolled.key : ''];
    const { knex } = testDatabase.database;
    const tables = await knex('pg_tables').where({ schemaname: 'public' }).select('tablename');
    const rows = await Promise.all(
      tables.map(({ tablename }) => knex(tablename).select(knex.raw('to_jsonb(??)::text as row', [tablename]))),
    );
    const dump = rows.flat().map(({ row }) => row as string);
    const digests: { digest: Buffer; previous_digest: Buffer }[] = await knex('api_keys')
      .where({ id })
      .select('digest', 'previous_digest');
    dump.push(...digests.flatMap((row) => [row.digest.toString('latin1'), row.previous_digest.toString('latin1')]));
    const stolen = dump.join('\n');
    expect(stolen).toContain(id);
    for (const value of keys) {
      const { secret } = parseApiKey(value) ?? { secret: '' };
      const random = secret.slice(0, 43);
      expect(random).toHaveLength(43);
      for (const form of [random, Buffer.from(random).toString('hex'), Buffer.from(random).toString('base64')]) {
        expect(stolen).not.toContain(form);
      }
    }
  });

  test('is refused for an owner who has gone meanwhile, and leaves nothing behind', async () => {
    const owner = { kind: 'client', clientId: 'never-there' } as const;
    expect(await node.apiKeys.create({ name: 'x', owner, scopes: [SCOPE] })).toMatchObject({
      ok: false,
      code: 'not_found',
    });
    expect(await node.apiKeys.list({ owner })).toEqual([]);
  });

  test('is not made where it can not be recorded', async () => {
    const failing = openNode(testDatabase, {
      record: async () => {
        throw new Error('no audit');
      },
    });
    const alone = await insertClient(testDatabase);
    const owner = { kind: 'client', clientId: alone } as const;
    await expect(failing.apiKeys.create({ name: 'x', owner, scopes: [SCOPE] })).rejects.toThrow('no audit');
    expect(await node.apiKeys.list({ owner })).toEqual([]);
  });
});

describe('rolling', () => {
  test('keeps the id, and both secrets live until the overlap ends', async () => {
    const { id, secret } = await createKey(node, clientId);
    const rolled = await node.apiKeys.roll(id, { overlapSeconds: 60 });
    const next = rolled.ok ? rolled.key.slice(-49) : '';
    expect(rolled).toMatchObject({ ok: true, apiKey: { id } });
    expect(await node.apiKeys.verify(id, secret)).toBe(true);
    expect(await node.apiKeys.verify(id, next)).toBe(true);
    const later = openNode(testDatabase);
    later.clock.now += 59_999;
    expect(await later.apiKeys.verify(id, secret)).toBe(true);
    later.clock.now += 1;
    expect(await later.apiKeys.verify(id, secret)).toBe(false);
    expect(await later.apiKeys.verify(id, next)).toBe(true);
  });

  test('ends the old one at once where no overlap is wanted', async () => {
    const { id, secret } = await createKey(node, clientId);
    await node.apiKeys.roll(id, { overlapSeconds: 0 });
    expect(await node.apiKeys.verify(id, secret)).toBe(false);
    // Wherever a clock is behind, too.
    const behind = openNode(testDatabase);
    behind.clock.now -= 60_000;
    expect(await behind.apiKeys.verify(id, secret)).toBe(false);
  });

  test('overlaps for a day unless told, and twice within it ends the oldest', async () => {
    const { id, secret } = await createKey(node, clientId);
    const [second] = [await node.apiKeys.roll(id)];
    node.clock.now += DAY_MS - 1;
    const fresh = openNode(testDatabase);
    fresh.clock.now = node.clock.now;
    expect(await fresh.apiKeys.verify(id, secret)).toBe(true);
    const third = await fresh.apiKeys.roll(id);
    expect(await fresh.apiKeys.verify(id, secret)).toBe(false);
    for (const rolled of [second, third]) {
      expect(await fresh.apiKeys.verify(id, rolled?.ok ? rolled.key.slice(-49) : '')).toBe(true);
    }
  });

  test('several times at once leaves two of the secrets live, and the one from before is dead', async () => {
    const { id, secret } = await createKey(node, clientId);
    const { knex } = testDatabase.database;
    const holder = new pg.Client({ connectionString: testDatabase.url });
    await holder.connect();
    await holder.query('begin');
    await holder.query('select from api_keys where id = $1 for update', [id]);
    const rolling = Promise.all(Array.from({ length: 3 }, () => node.apiKeys.roll(id)));
    await until('all of them wait', async () => {
      const { rows } = await knex.raw<{ rows: unknown[] }>(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return rows.length === 3;
    });
    await holder.query('commit');
    await holder.end();
    const rolled = await rolling;
    const live = await Promise.all(rolled.map((each) => node.apiKeys.verify(id, each.ok ? each.key.slice(-49) : '')));
    expect(live.filter(Boolean)).toHaveLength(2);
    expect(await node.apiKeys.verify(id, secret)).toBe(false);
  });

  test.each([-1, 0.5, 30 * 24 * 3_600 + 1, Number.NaN])(
    'is refused an overlap of %s seconds',
    async (overlapSeconds) => {
      const { id } = await createKey(node, clientId);
      expect(await node.apiKeys.roll(id, { overlapSeconds })).toMatchObject({ ok: false, code: 'invalid' });
    },
  );
});

describe('a change', () => {
  test('of settings leaves what is not named and takes away what is null', async () => {
    const { id } = await createKey(node, clientId, { quota: { requests: 5, windowSeconds: 60 }, ratePerSecond: 3 });
    const changed = await node.apiKeys.update(id, { name: 'renamed', quota: null, allowedAddresses: ['::1'] });
    expect(changed).toMatchObject({
      ok: true,
      apiKey: { name: 'renamed', ratePerSecond: 3, allowedAddresses: ['::1'] },
    });
    expect(changed.ok && changed.apiKey.quota).toBeUndefined();
    expect(await node.apiKeys.update(id, { ratePerSecond: 0 })).toMatchObject({ ok: false, field: 'ratePerSecond' });
    expect(auditedOf(id)).toEqual(['created', 'updated']);
  });

  test('is recorded with who made it, and not where nothing was changed', async () => {
    const { id } = await createKey(node, clientId);
    const by = { actor: { kind: 'account', id: 'ada' } } as const;
    await node.apiKeys.disable(id, by);
    await node.apiKeys.disable(id);
    expect(isLive((await node.apiKeys.find(id)) as never, node.clock.now)).toBe(false);
    await node.apiKeys.enable(id);
    await node.apiKeys.enable(id);
    expect(isLive((await node.apiKeys.find(id)) as never, node.clock.now)).toBe(true);
    await node.apiKeys.revoke(id);
    expect(auditedOf(id)).toEqual(['created', 'disabled', 'enabled', 'revoked']);
    expect(node.audited.find(({ id: of, action }) => of === id && action === 'disabled')).toMatchObject({ by });
  });

  test('of a key that is revoked is refused, whatever it is, and revoking it again is none', async () => {
    const { id } = await createKey(node, clientId);
    const revoked = await node.apiKeys.revoke(id);
    expect(revoked).toMatchObject({ ok: true, apiKey: { revokedAt: new Date(node.clock.now) } });
    for (const change of [
      node.apiKeys.enable(id),
      node.apiKeys.disable(id),
      node.apiKeys.roll(id),
      node.apiKeys.update(id, { name: 'x' }),
    ]) {
      expect(await change).toMatchObject({ ok: false, code: 'revoked' });
    }
    expect(await node.apiKeys.revoke(id)).toEqual(revoked);
    expect(auditedOf(id)).toEqual(['created', 'revoked']);
  });
});

test('keys are listed by owner and page, in the order of their ids', async () => {
  const owner = { kind: 'account', accountId: await insertAccount(testDatabase) } as const;
  const made = [];
  for (let i = 0; i < 6; i += 1) {
    const created = await node.apiKeys.create({ name: `key ${i}`, owner, scopes: [SCOPE], apis: [API] });
    made.push(created.ok ? created.apiKey.id : '');
  }
  const ids = async (query: object) => (await node.apiKeys.list({ owner, ...query })).map(({ id }) => id);
  const inOrder = [...made].sort();
  expect(await ids({})).toEqual(inOrder);
  expect(await ids({ limit: 2 })).toEqual(inOrder.slice(0, 2));
  expect(await ids({ after: inOrder[3] })).toEqual(inOrder.slice(4));
});

describe('within a second a node follows what another one', () => {
  let elsewhere: ApiKeysNode;

  beforeAll(async () => {
    elsewhere = openNode(testDatabase);
    await Promise.all([node.changeFeed.start(), elsewhere.changeFeed.start()]);
  });
  afterAll(() => Promise.all([node.changeFeed.close(), elsewhere.changeFeed.close()]));

  const isDeadHere = async (id: string) => {
    const apiKey = await node.apiKeys.find(id);
    return apiKey === undefined || !isLive(apiKey, node.clock.now);
  };

  // The clocks stand still: what is seen here was dropped from the cache by the feed, and did not just grow old.
  test('makes, disables, enables and revokes', async () => {
    const { id, secret } = await createKey(elsewhere, clientId);
    await until('the key is good', () => node.apiKeys.verify(id, secret), SEEN_WITHIN_MS);
    await elsewhere.apiKeys.disable(id);
    await until('it is disabled', () => isDeadHere(id), SEEN_WITHIN_MS);
    await elsewhere.apiKeys.enable(id);
    await until('it is enabled', async () => !(await isDeadHere(id)), SEEN_WITHIN_MS);
    await elsewhere.apiKeys.revoke(id);
    await until('it is revoked', () => isDeadHere(id), SEEN_WITHIN_MS);
  });

  test('rolls', async () => {
    const { id, secret } = await createKey(elsewhere, clientId);
    expect(await node.apiKeys.verify(id, secret)).toBe(true);
    await elsewhere.apiKeys.roll(id, { overlapSeconds: 0 });
    await until('the old secret is dead', async () => !(await node.apiKeys.verify(id, secret)), SEEN_WITHIN_MS);
  });

  test('removes with its owner', async () => {
    const owner = await insertClient(testDatabase);
    const { id } = await createKey(elsewhere, owner);
    expect(await isDeadHere(id)).toBe(false);
    await testDatabase.database.knex.transaction(async (trx) => {
      await trx('clients').where({ id: owner }).delete();
      await elsewhere.apiKeys.removeOf(trx, { kind: 'client', clientId: owner });
    });
    await until('it is gone', () => isDeadHere(id), SEEN_WITHIN_MS);
    expect(elsewhere.audited.filter((change) => change.id === id).map(({ action }) => action)).toEqual([
      'created',
      'revoked',
    ]);
  });

  test('and without a feed when its answers have grown old, still within a second', async () => {
    const deaf = openNode(testDatabase);
    const { id } = await createKey(elsewhere, clientId);
    expect((await deaf.apiKeys.find(id))?.revokedAt).toBeUndefined();
    await elsewhere.apiKeys.revoke(id);
    deaf.clock.now += 999;
    expect((await deaf.apiKeys.find(id))?.revokedAt).toBeDefined();
  });
});

test('an owner can not be deleted past its keys', async () => {
  const { knex } = testDatabase.database;
  const owner = await insertClient(testDatabase);
  await createKey(node, owner);
  await expect(knex('clients').where({ id: owner }).delete()).rejects.toThrow(/api_keys_client_id/);
});
