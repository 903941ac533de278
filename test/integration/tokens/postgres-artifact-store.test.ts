import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import type { Clock } from '../../../src/config/index.ts';
import { isDatabaseUnavailable } from '../../../src/database/index.ts';
import type { ArtifactKind } from '../../../src/tokens/artifact.ts';
import { DROPS_CHANNEL } from '../../../src/tokens/artifact-endings-store.ts';
import { digestOf } from '../../../src/tokens/artifact-row.ts';
import { type ArtifactStore, createPostgresArtifactStore, sweepExpiredArtifacts } from '../../../src/tokens/index.ts';
import { artifactStoreContract, randomValue } from '../../contracts/artifact-store-contract.ts';
import { realisticArtifacts } from '../../contracts/realistic-artifacts.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { ageRotation } from '../../harness/rotations.ts';
import { createAesSealer } from './aes-sealer.ts';

const HOUR = 3_600;
const userCodeKey = randomBytes(32);
const keys = { sealer: createAesSealer(randomBytes(32)), userCodeKey: () => userCodeKey };

let testDatabase: TestDatabase;
beforeAll(async () => {
  testDatabase = await openTestDatabase({ poolSize: 12 });
});
afterAll(() => testDatabase.close());

function makeStore(clock: Clock = Date.now, pool: pg.Pool = testDatabase.database.pool): ArtifactStore {
  return createPostgresArtifactStore({ pool, clock, ...keys });
}

const ageRotationHere = (refreshToken: string, seconds: number) =>
  ageRotation(testDatabase.database.pool, refreshToken, seconds);

artifactStoreContract('PostgreSQL', makeStore, ageRotationHere);

const deafFeed = { hear: () => undefined, isListening: () => true };

artifactStoreContract(
  'PostgreSQL with a cache, which hears of nothing',
  (clock) =>
    createPostgresArtifactStore({
      pool: testDatabase.database.pool,
      clock,
      ...keys,
      cache: { size: 1_000, dropFeed: deafFeed, now: () => performance.now() },
    }),
  ageRotationHere,
);

/** Lets a test see every statement that goes to the database. */
function observed(pool: pg.Pool, observe: (statement: Promise<unknown>) => void): pg.Pool {
  return new Proxy(pool, {
    get(target, property) {
      if (property !== 'query') return Reflect.get(target, property);
      return (query: pg.QueryConfig) => {
        const statement = target.query(query);
        observe(statement);
        return statement;
      };
    },
  });
}

/** Two nodes: each has its own connections and batches. */
async function withTwoNodes(
  work: (nodes: [ArtifactStore, ArtifactStore]) => Promise<void>,
  observe: (statement: Promise<unknown>) => void = () => undefined,
): Promise<void> {
  const pools = [1, 2].map(() => new pg.Pool({ connectionString: testDatabase.url }));
  const [first, second] = pools.map((pool) => makeStore(Date.now, observed(pool, observe)));
  try {
    await work([first as ArtifactStore, second as ArtifactStore]);
  } finally {
    await Promise.all(pools.map((pool) => pool.end()));
  }
}

describe('two nodes', () => {
  test('a code is consumed once among them', async () => {
    await withTwoNodes(async (nodes) => {
      for (let repeat = 0; repeat < 40; repeat += 1) {
        const id = randomValue();
        await nodes[0].upsert('AuthorizationCode', id, { jti: id }, HOUR);
        const outcomes = await Promise.all(
          Array.from({ length: 40 }, (_, turn) => nodes[(turn % 2) as 0 | 1].consume('AuthorizationCode', id)),
        );
        expect(outcomes.filter((outcome) => outcome === 'consumed')).toHaveLength(1);
        expect(outcomes.filter((outcome) => outcome === 'already_consumed')).toHaveLength(39);
      }
    });
  });

  test('a code is consumed once while others save it', async () => {
    await withTwoNodes(async (nodes) => {
      for (let repeat = 0; repeat < 40; repeat += 1) {
        const id = randomValue();
        await nodes[0].upsert('DeviceCode', id, { jti: id }, HOUR);
        const [outcomes] = await Promise.all([
          Promise.all(nodes.map((node) => node.consume('DeviceCode', id))),
          ...nodes.map((node, turn) => node.upsert('DeviceCode', id, { jti: id, turn }, HOUR)),
        ]);
        expect(outcomes.toSorted()).toEqual(['already_consumed', 'consumed']);
        expect(await nodes[1].find('DeviceCode', id)).toHaveProperty('consumed');
      }
    });
  });

  test('a one-time value is accepted once among them', async () => {
    await withTwoNodes(async (nodes) => {
      for (let repeat = 0; repeat < 40; repeat += 1) {
        const id = randomValue();
        const answers = await Promise.all(
          Array.from({ length: 40 }, (_, turn) => nodes[(turn % 2) as 0 | 1].insertOnce('ReplayDetection', id, 60)),
        );
        expect(answers.filter(Boolean)).toHaveLength(1);
      }
    });
  });

  test('batches over the same rows in opposite orders never wait for each other in a circle', async () => {
    const faults: unknown[] = [];
    await withTwoNodes(
      async ([first, second]) => {
        const ids = Array.from({ length: 250 }, randomValue);
        const write = (node: ArtifactStore, order: string[]) =>
          Promise.all(order.map((id) => node.upsert('Interaction', id, { jti: id }, HOUR)));
        const consume = (node: ArtifactStore, order: string[]) =>
          Promise.all(order.map((id) => node.consume('Interaction', id)));
        for (let repeat = 0; repeat < 20; repeat += 1) {
          const backwards = ids.toReversed();
          await Promise.all([
            write(first, ids),
            write(second, backwards),
            consume(first, ids),
            consume(second, backwards),
          ]);
        }
      },
      (statement) => statement.catch((fault) => faults.push(fault)),
    );
    expect(faults).toEqual([]);
  });

  test('a grant that one node destroys is not brought back by another', async () => {
    await withTwoNodes(async (nodes) => {
      for (let repeat = 0; repeat < 40; repeat += 1) {
        const id = randomValue();
        await nodes[0].upsert('Grant', id, { jti: id }, HOUR);
        await Promise.all([
          nodes[0].destroy('Grant', id),
          nodes[1].upsert('Grant', id, { jti: id, again: true }, HOUR),
        ]);
        expect(await nodes[1].find('Grant', id)).toBeUndefined();
      }
    });
  });
});

describe('what stands in the database', () => {
  test('no column holds a bearer value, in clear, base64, base64url or hex', async () => {
    const store = makeStore();
    const artifacts = realisticArtifacts();
    for (const { kind, id, payload } of artifacts) {
      await store.upsert(kind, id, payload, HOUR);
      await store.upsert(kind, id, payload, HOUR);
      await store.consume(kind, id);
    }
    const { rows } = await testDatabase.database.pool.query('select a.*, payload::text as json from artifacts a');
    expect(rows.length).toBeGreaterThanOrEqual(artifacts.length);
    const dump = rows
      .map((row) =>
        Object.values(row)
          .map((value) => (Buffer.isBuffer(value) ? value.toString('hex') : JSON.stringify(value)))
          .join('\n'),
      )
      .join('\n')
      .toLowerCase();
    for (const { kind, bearerValues } of artifacts) {
      if (kind === 'Grant') continue; // an identifier
      for (const value of bearerValues) {
        const bytes = Buffer.from(value);
        const forms = [value, bytes.toString('base64').replace(/=+$/, ''), bytes.toString('hex')];
        forms.push(bytes.toString('base64url'), Buffer.from(value, 'base64url').toString('hex'));
        for (const form of forms)
          expect({ kind, isFound: dump.includes(form.toLowerCase()) }).toEqual({ kind, isFound: false });
      }
    }
  });

  test('a value that turns up where it is not expected is sealed with the whole payload', async () => {
    const id = randomValue();
    const payload = { jti: id, extra: { note: `see ${id}` } };
    await makeStore().upsert('AccessToken', id, payload, HOUR);
    const { rows } = await testDatabase.database.pool.query(
      'select payload::text from artifacts where payload::text like $1',
      [`%${id}%`],
    );
    expect(rows).toEqual([]);
    expect(await makeStore().find('AccessToken', id)).toEqual(payload);
  });

  test('sealed values are bound to their row: exchanged between two rows, reading fails', async () => {
    const store = makeStore();
    const [first, second] = [randomValue(), randomValue()];
    for (const id of [first, second])
      await store.upsert('PushedAuthorizationRequest', id, { jti: id, request: id }, HOUR);
    const digests = [first, second].map((id) => digestOf('PushedAuthorizationRequest', id));
    const { rowCount } = await testDatabase.database.pool.query(
      'update artifacts a set sealed = b.sealed from artifacts b where a.id = any($1) and b.id = any($1) and a.id <> b.id',
      [digests],
    );
    expect(rowCount).toBe(2);
    await expect(store.find('PushedAuthorizationRequest', first)).rejects.toThrow(/authenticate/);
    await expect(store.find('PushedAuthorizationRequest', second)).rejects.toThrow(/authenticate/);
  });

  test('a look-up that fails leaves those that travel with it alone', async () => {
    const store = makeStore();
    const [broken, sound] = [randomValue(), randomValue()];
    for (const id of [broken, sound])
      await store.upsert('PushedAuthorizationRequest', id, { jti: id, request: 'r' }, HOUR);
    const digest = digestOf('PushedAuthorizationRequest', broken);
    await testDatabase.database.pool.query(`update artifacts set sealed = 'AAAA' where id = $1`, [digest]);
    const [first, second] = await Promise.allSettled([
      store.find('PushedAuthorizationRequest', broken),
      store.find('PushedAuthorizationRequest', sound),
    ]);
    expect(first.status).toBe('rejected');
    expect(second).toMatchObject({ status: 'fulfilled', value: { request: 'r' } });
  });

  test('a tombstone keeps nothing of what it stands for', async () => {
    const store = makeStore();
    const id = randomValue();
    const accountId = `account-${randomValue()}`;
    const session = { jti: id, uid: randomValue(), accountId, state: { secret: 's' }, note: accountId };
    await store.upsert('Session', id, session, HOUR);
    await store.destroy('Session', id);
    await store.upsert('Session', id, session, HOUR);
    const { rows } = await testDatabase.database.pool.query(
      'select * from artifacts where account_id = $1 or payload::text like $2',
      [accountId, `%${accountId}%`],
    );
    expect(rows).toEqual([]);
  });
});

describe('batches', () => {
  test('a thousand look-ups, writes and one-time values take a few statements', async () => {
    let statementCount = 0;
    const counting = observed(testDatabase.database.pool, () => {
      statementCount += 1;
    });
    const store = makeStore(Date.now, counting);
    const ids = Array.from({ length: 1_000 }, randomValue);
    async function count(work: (id: string) => Promise<unknown>): Promise<number> {
      statementCount = 0;
      await Promise.all(ids.map(work));
      return statementCount;
    }
    expect(await count((id) => store.upsert('AuthorizationCode', id, { jti: id }, HOUR))).toBe(4);
    expect(await count((id) => store.find('AuthorizationCode', id))).toBe(4);
    expect(await count((id) => store.consume('AuthorizationCode', id))).toBe(4);
    expect(await count((id) => store.insertOnce('ReplayDetection', id, 60))).toBe(4);
    expect(await count((id) => store.openTokenReader().find('AccessToken', id))).toBe(4);
    expect(await count((id) => store.findByUid(id))).toBe(4);
    expect(await store.find('AuthorizationCode', ids[999] as string)).toHaveProperty('consumed');
    expect(await count((id) => store.destroy('AuthorizationCode', id))).toBe(4);
    expect(await count((id) => store.destroy('Session', id))).toBe(4);
    expect(await count((id) => store.revokeByGrantId('AccessToken', id))).toBe(4);
  });

  test('a row that the database refuses fails alone', async () => {
    const store = makeStore();
    const good = Array.from({ length: 20 }, randomValue);
    const bad = randomValue();
    const oversized = randomBytes(8_000).toString('base64url'); // more than an index entry may have
    const outcomes = await Promise.allSettled([
      ...good.slice(0, 10).map((id) => store.upsert('AccessToken', id, { jti: id }, HOUR)),
      store.upsert('AccessToken', bad, { jti: bad, grantId: oversized }, HOUR),
      store.upsert('AccessToken', randomValue(), { jti: bad }, 8e11), // a year that PostgreSQL can't read
      ...good.slice(10).map((id) => store.upsert('AccessToken', id, { jti: id }, HOUR)),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      ...Array(10).fill('fulfilled'),
      'rejected',
      'rejected',
      ...Array(10).fill('fulfilled'),
    ]);
    expect(outcomes[10]).toMatchObject({ reason: { code: '54000' } });
    expect(outcomes[11]).toMatchObject({ reason: { code: expect.stringMatching(/^22/) } });
    for (const id of good) expect(await store.find('AccessToken', id)).toBeDefined();
    expect(await store.find('AccessToken', bad)).toBeUndefined();
  });

  test('a deletion that the database refuses fails alone', async () => {
    const store = makeStore();
    const good = Array.from({ length: 10 }, randomValue);
    const guarded = randomValue();
    for (const id of [...good, guarded]) await store.upsert('AccessToken', id, { jti: id, grantId: id }, HOUR);
    const hex = digestOf('AccessToken', guarded).toString('hex');
    const { pool } = testDatabase.database;
    await pool.query(`create function refuse() returns trigger language plpgsql as
      $$ begin raise exception 'guarded' using errcode = '23000'; end $$`);
    await pool.query(`create trigger guard before delete on artifacts for each row
      when (old.id = '\\x${hex}') execute function refuse()`);
    try {
      for (const end of [
        (id: string) => store.destroy('AccessToken', id),
        (id: string) => store.revokeByGrantId('AccessToken', id),
      ]) {
        const outcomes = await Promise.allSettled([...good.slice(0, 5), guarded, ...good.slice(5)].map(end));
        expect(outcomes.map(({ status }) => status).filter((status) => status === 'rejected')).toHaveLength(1);
        expect(outcomes[5]).toMatchObject({ reason: { code: '23000' } });
      }
      for (const id of good) expect(await store.find('AccessToken', id)).toBeUndefined();
      expect(await store.find('AccessToken', guarded)).toBeDefined();
    } finally {
      await pool.query('drop trigger guard on artifacts; drop function refuse');
    }
  });

  test('closing waits for what is being destroyed', async () => {
    const store = makeStore();
    const [token, grant] = [randomValue(), randomValue()];
    await store.upsert('AccessToken', token, { jti: token, grantId: grant }, HOUR);
    await store.upsert('Grant', grant, { jti: grant }, HOUR);
    const ended: string[] = [];
    const ends = [
      store.destroy('Grant', grant).then(() => ended.push('grant')),
      store.destroy('AccessToken', token).then(() => ended.push('token')),
      store.revokeByGrantId('AccessToken', grant).then(() => ended.push('tokens of the grant')),
      store.revokeAll({ grantId: grant }).then(() => ended.push('all')),
    ];
    await store.close();
    expect(ended).toHaveLength(ends.length);
  });

  test('while the database is away, everyone is told so, and nobody is told anything else', async () => {
    const pool = new pg.Pool({ connectionString: 'postgres://nobody@127.0.0.1:1/nowhere' });
    const store = makeStore(Date.now, pool);
    const id = randomValue();
    const outcomes = await Promise.allSettled([
      store.find('AccessToken', id),
      store.find('AccessToken', randomValue()),
      store.findByUid(id),
      store.openTokenReader().find('AccessToken', id),
      store.openTokenReader().find('Grant', id),
      store.openTokenReader().findByUid(id),
      store.findByUserCode(id),
      store.upsert('AccessToken', id, { jti: id }, HOUR),
      store.consume('AuthorizationCode', id),
      store.insertOnce('ReplayDetection', id, 60),
      store.destroy('Session', id),
      store.revokeByGrantId('AccessToken', id),
      store.revokeAll({ accountId: id }),
    ]);
    for (const outcome of outcomes) {
      expect(outcome.status === 'rejected' && isDatabaseUnavailable(outcome.reason)).toBe(true);
    }
    await store.close();
    await pool.end();
  });

  test('what one batch could not write, the next can', async () => {
    const { pool } = testDatabase.database;
    let isAway = true;
    const flaky = new Proxy(pool, {
      get(target, property) {
        if (property !== 'query' || !isAway) return Reflect.get(target, property);
        return () => Promise.reject(Object.assign(new Error('gone'), { code: '57P01' }));
      },
    });
    const store = makeStore(Date.now, flaky);
    const id = randomValue();
    await expect(store.upsert('AccessToken', id, { jti: id }, HOUR)).rejects.toThrow('gone');
    isAway = false;
    await store.upsert('AccessToken', id, { jti: id }, HOUR);
    expect(await store.find('AccessToken', id)).toEqual({ jti: id });
  });
});

describe('what is told to other processes', () => {
  /** What is heard while `work` runs; a message of our own says that all before it have come. */
  async function heardDuring(work: (store: ArtifactStore) => Promise<unknown>): Promise<string[]> {
    const heard: string[] = [];
    const ended = Promise.withResolvers<void>();
    const client = new pg.Client({ connectionString: testDatabase.url });
    await client.connect();
    client.on('notification', ({ payload = '' }) => {
      if (payload === 'the end') ended.resolve();
      else heard.push(payload);
    });
    await client.query(`listen ${DROPS_CHANNEL}`);
    await work(makeStore());
    await testDatabase.database.pool.query('select pg_notify($1, $2)', [DROPS_CHANNEL, 'the end']);
    await ended.promise;
    await client.end();
    return heard;
  }
  const hexOf = (kind: ArtifactKind, id: string) => digestOf(kind, id).toString('hex');
  const randomValues = (count: number) => Array.from({ length: count }, randomValue);

  test('nothing of what is issued, found, consumed or saved again', async () => {
    const heard = await heardDuring(async (store) => {
      for (const { kind, id, payload } of realisticArtifacts()) {
        await store.upsert(kind, id, payload, HOUR);
        await store.find(kind, id);
        await store.consume(kind, id);
        await store.upsert(kind, id, payload, HOUR);
      }
    });
    expect(heard).toEqual([]);
  });

  test('the digests of tokens and grants that ended and the uids of sessions, and no values', async () => {
    const [token, grant, session, uid, code] = randomValues(5) as [string, string, string, string, string];
    const heard = await heardDuring(async (store) => {
      await store.upsert('AccessToken', token, { grantId: grant }, HOUR);
      await store.upsert('Grant', grant, {}, HOUR);
      await store.upsert('Session', session, { uid }, HOUR);
      await store.upsert('AuthorizationCode', code, { grantId: grant }, HOUR);
      await store.destroy('AuthorizationCode', code);
      await store.destroy('AccessToken', randomValue());
      await store.revokeByGrantId('RefreshToken', grant);
      await store.revokeByGrantId('AccessToken', grant);
      await store.destroy('Grant', grant);
      await store.destroy('Session', session);
    });
    expect(heard).toEqual([hexOf('AccessToken', token), hexOf('Grant', grant), uid]);
  });

  test('everything of one account in a message, or that it was too much to name', async () => {
    const [accountId, grant] = [`account-${randomValue()}`, randomValue()];
    const issue = async (store: ArtifactStore, count: number) => {
      await store.upsert('Grant', grant + count, { accountId }, HOUR);
      await Promise.all(randomValues(count).map((id) => store.upsert('AccessToken', id, { accountId }, HOUR)));
    };
    const heard = await heardDuring(async (store) => {
      await issue(store, 2);
      await store.revokeAll({ accountId });
      await issue(store, 200);
      await store.revokeAll({ accountId });
    });
    expect(heard.map((message) => (message === '' ? 'all' : message.split(',').length))).toEqual([1, 2, 1, 'all']);
  });
});

describe('sweeping', () => {
  const { clock, pass } = movableClock(Date.UTC(1999, 0, 1));

  test('removes what is past its retention in bounded batches, and nothing else', async () => {
    const { pool } = testDatabase.database;
    const store = makeStore(clock);
    const short = Array.from({ length: 25 }, randomValue);
    const [code, lasting] = [randomValue(), randomValue()];
    await Promise.all(short.map((id) => store.upsert('AccessToken', id, { jti: id }, 60)));
    await store.upsert('AuthorizationCode', code, { jti: code }, 60);
    await store.upsert('InitialAccessToken', lasting, { jti: lasting }, undefined);
    const sweep = () => sweepExpiredArtifacts({ pool, clock, batchSize: 10 });

    pass(60_000);
    expect(await sweep()).toBe(0); // still within the clock tolerance
    pass(15 * 60_000);
    expect([await sweep(), await sweep(), await sweep(), await sweep()]).toEqual([10, 10, 5, 0]);
    expect(await store.find('AuthorizationCode', code)).toBeDefined();
    pass(2 * HOUR * 1000);
    expect([await sweep(), await sweep()]).toEqual([1, 0]);
    expect(await store.find('InitialAccessToken', lasting)).toBeDefined();
  });

  test('does not wait for rows that others hold', async () => {
    const { pool } = testDatabase.database;
    const store = makeStore(clock);
    const ids = [randomValue(), randomValue()];
    await Promise.all(ids.map((id) => store.upsert('AccessToken', id, { jti: id }, 60)));
    pass(HOUR * 1000);
    const holder = await pool.connect();
    try {
      await holder.query('begin');
      await holder.query('select from artifacts where purge_at <= $1 order by id limit 1 for update', [
        new Date(clock()),
      ]);
      expect(await sweepExpiredArtifacts({ pool, clock, batchSize: 10 })).toBe(1);
      await holder.query('rollback');
    } finally {
      holder.release();
    }
    expect(await sweepExpiredArtifacts({ pool, clock, batchSize: 10 })).toBe(1);
  });

  test('keeps the tombstone of a session that was ended, so that its uid stays dead', async () => {
    const { pool } = testDatabase.database;
    const store = makeStore(clock);
    const [id, uid, revenant] = [randomValue(), randomValue(), randomValue()];
    await store.upsert('Session', id, { jti: id, uid }, 60);
    await store.destroy('Session', id);
    await store.destroy('Session', id);
    await store.upsert('Session', revenant, { jti: revenant, uid }, 30 * 24 * HOUR);
    pass(24 * HOUR * 1000);
    while ((await sweepExpiredArtifacts({ pool, clock, batchSize: 10 })) > 0);
    expect(await store.find('Session', revenant)).toBeUndefined();
  });
});

function movableClock(start: number) {
  let now = start;
  return {
    clock: () => now,
    pass(milliseconds: number) {
      now += milliseconds;
    },
  };
}
