import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createLocalJWKSet, importJWK, type JWK, jwtVerify, SignJWT } from 'jose';
import type { Knex } from 'knex';
import { createAudit } from '../../../src/audit/index.ts';
import { createChangeFeed, openDatabase } from '../../../src/database/index.ts';
import { createKeyWrapper, createSigningKeys } from '../../../src/keys/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { silentLogger } from '../../harness/loggers.ts';

const policy = {
  algorithms: ['RS256', 'ES256'] as const,
  rotationSeconds: 9_000,
  announceSeconds: 900,
  retentionSeconds: 90,
};
const keyEncryptionKey = randomBytes(32);

let testDatabase: TestDatabase;
beforeEach(async () => {
  testDatabase = await openTestDatabase();
});
afterEach(() => testDatabase.close());

/** The keys as one node of the test database has them. */
function node(
  keyEncryptionKeys: Buffer[] = [keyEncryptionKey],
  knex = testDatabase.database.knex,
  algorithmsInUse: (knex: Knex) => Promise<readonly string[]> = async () => policy.algorithms,
) {
  const audit = createAudit({ knex, clock: Date.now, logger: silentLogger });
  const wrapper = createKeyWrapper({ keyEncryptionKeys });
  return createSigningKeys({ knex, wrapper, audit, policy, algorithmsInUse });
}

const rows = (table: string) => testDatabase.database.knex(table).select();

async function signAndVerify(privateJwk: JWK, publicJwks: JWK[]): Promise<string | undefined> {
  const { alg = '', kid = '' } = privateJwk;
  const jwt = await new SignJWT({ sub: 'someone' })
    .setProtectedHeader({ alg, kid })
    .sign(await importJWK(privateJwk, alg));
  return (await jwtVerify(jwt, createLocalJWKSet({ keys: publicJwks }))).payload.sub;
}

describe('making keys', () => {
  test('an empty database gets one active key for each algorithm; a second start makes none', async () => {
    await node().ensure();
    const first = await node().list();
    expect(first.map(({ algorithm, state }) => [algorithm, state])).toEqual([
      ['RS256', 'active'],
      ['ES256', 'active'],
    ]);
    for (const { createdAt, activatedAt } of first) expect(activatedAt).toEqual(createdAt);
    await node().ensure();
    expect(await node().list()).toEqual(first);
  });

  test('all clients are looked at before other nodes have to wait, and not while they do', async () => {
    const { knex } = testDatabase.database;
    const locksHeld: unknown[] = [];
    const keys = node([keyEncryptionKey], knex, async () => {
      locksHeld.push(
        (
          await knex('pg_locks')
            .where({ locktype: 'advisory', granted: true })
            .whereRaw('database = (select oid from pg_database where datname = current_database())')
        ).length,
      );
      return policy.algorithms;
    });
    await keys.ensure();
    await keys.advance();
    expect(new Set(locksHeld)).toEqual(new Set([0]));
  });

  test('nodes that start at once on an empty database end with the same one of each', async () => {
    const databases = Array.from({ length: 4 }, () =>
      openDatabase({ url: testDatabase.url, poolSize: 4, logger: silentLogger }),
    );
    const nodes = databases.map((database) => node([keyEncryptionKey], database.knex));
    await Promise.all(nodes.map((keys) => keys.ensure()));
    const sets = await Promise.all(nodes.map((keys) => keys.load()));
    await Promise.all(databases.map((database) => database.close()));
    expect(await rows('signing_keys')).toHaveLength(2);
    for (const set of sets) expect(set).toEqual(sets[0]);
  });

  test('only the algorithm that lacks an active key gets one', async () => {
    await node().ensure();
    const { knex } = testDatabase.database;
    await knex('signing_keys').where({ algorithm: 'ES256' }).update({ state: 'retired' });
    await node().ensure();
    const states = (await node().list()).map(({ algorithm, state }) => `${algorithm} ${state}`);
    expect(states.sort()).toEqual(['ES256 active', 'ES256 retired', 'RS256 active']);
  });

  test('the database itself refuses a second active key of one algorithm', async () => {
    await node().ensure();
    const { knex } = testDatabase.database;
    const second = knex.raw(
      `insert into signing_keys select (jsonb_populate_record(k, '{"kid": "second"}')).* from signing_keys k limit 1`,
    );
    await expect(second).rejects.toMatchObject({ code: '23505', constraint: 'signing_keys_one_active' });
  });

  test('what was made is announced to the other nodes and recorded', async () => {
    const { knex } = testDatabase.database;
    const feed = createChangeFeed({ url: testDatabase.url, knex, logger: silentLogger });
    const heard = new Promise<void>((resolve) => feed.subscribe('keys', () => resolve()));
    await feed.start();
    await node().ensure();
    await heard;
    await feed.close();
    const kids = (await node().list()).map(({ kid }) => kid);
    const events = await knex('audit_events').where({ type: 'key.created' });
    expect(events.map((event) => event.details.kid).sort()).toEqual([...kids].sort());
    await node().ensure();
    expect(await rows('audit_events')).toHaveLength(2);
  });
});

describe('loading keys', () => {
  test('each key signs what its published part verifies', async () => {
    await node().ensure();
    const { privateJwks, publicJwks } = await node().load();
    expect(privateJwks.map(({ alg, use }) => [alg, use])).toEqual([
      ['RS256', 'sig'],
      ['ES256', 'sig'],
    ]);
    for (const privateJwk of privateJwks) expect(await signAndVerify(privateJwk, publicJwks)).toBe('someone');
    expect(JSON.stringify(publicJwks)).not.toMatch(/"(d|p|q|dp|dq|qi|k)"/);
  });

  test('active keys stand before the others; revoked ones are not there', async () => {
    const { knex } = testDatabase.database;
    for (const state of ['revoked', 'retired']) {
      await node().ensure();
      await knex('signing_keys').where({ state: 'active' }).update({ state });
    }
    await node().ensure();
    expect(await node().rotate({})).toMatchObject({ ok: false, code: 'too_early' });
    const listed = await node().list();
    expect(listed.map(({ state }) => state)).toEqual(
      ['active', 'next', 'retired', 'revoked'].flatMap((state) => [state, state]),
    );
    const kids = ['active', 'retired', 'next'].flatMap((wanted) =>
      listed.filter(({ state }) => state === wanted).map(({ kid }) => kid),
    );
    const { privateJwks, publicJwks } = await node().load();
    expect(privateJwks.map(({ kid }) => kid)).toEqual(kids);
    expect(publicJwks.map(({ kid }) => kid)).toEqual(kids);
  });

  test('a key-encryption key that does not fit stops the start, named, and nothing is overwritten', async () => {
    await node().ensure();
    const { knex } = testDatabase.database;
    // One algorithm is missing: a careless start would make it under the wrong key.
    await knex('signing_keys').where({ algorithm: 'ES256' }).delete();
    const before = await rows('signing_keys');
    const wrong = node([randomBytes(32)]);
    const fault = { code: 'configuration', message: expect.stringMatching(/^KEY_ENCRYPTION_KEY [^\n]+$/) };
    await expect(wrong.ensure()).rejects.toMatchObject(fault);
    await expect(wrong.load()).rejects.toMatchObject(fault);
    expect(await rows('signing_keys')).toEqual(before);
  });

  test('a new key-encryption key in front of the old one opens what there is', async () => {
    await node().ensure();
    const before = await node().load();
    expect(await node([randomBytes(32), keyEncryptionKey]).load()).toEqual(before);
  });
});

describe('what stands in the database', () => {
  test('is no private key, in no encoding, in no table', async () => {
    await node().ensure();
    const { privateJwks } = await node().load();
    const { knex } = testDatabase.database;
    const tables = await knex('pg_tables').where({ schemaname: 'public' }).pluck('tablename');
    const dump = JSON.stringify(await Promise.all(tables.map((table) => rows(table))));
    expect(dump).toContain(privateJwks[0]?.kid);
    expect(dump).not.toMatch(/PRIVATE KEY|"(d|p|q|dp|dq|qi)"/);
    const parts = privateJwks
      .flatMap(({ d, p, q, dp, dq, qi }) => [d, p, q, dp, dq, qi])
      .filter((part) => part !== undefined);
    expect(parts).toHaveLength(7);
    for (const part of parts) {
      const bytes = Buffer.from(part, 'base64url');
      for (const encoding of ['base64url', 'base64', 'hex'] as const) {
        expect(dump).not.toContain(bytes.toString(encoding).slice(0, 24));
      }
    }
  });

  test.each(['sealed_private_jwk', 'wrapped_data_key'])('%s of another key does not open', async (column) => {
    await node().ensure();
    const { knex } = testDatabase.database;
    await knex.raw(
      `update signing_keys set ?? = other.value
         from (select algorithm, ?? as value from signing_keys) as other
        where other.algorithm <> signing_keys.algorithm`,
      [column, column],
    );
    await expect(node().load()).rejects.toMatchObject({
      code: 'server_error',
      message: expect.stringContaining('was altered in the database'),
    });
  });

  test('a key that is renamed, renumbered or moved as a whole does not open', async () => {
    await node().ensure();
    const { knex } = testDatabase.database;
    for (const change of [{ kid: 'renamed' }, { version: 2 }, { algorithm: 'RS256' }]) {
      await knex.transaction(
        async (trx) => {
          await trx('signing_keys').where({ algorithm: 'RS256' }).update({ state: 'retired' });
          await trx('signing_keys').where({ algorithm: 'ES256' }).update(change);
          await expect(node([keyEncryptionKey], trx).load()).rejects.toMatchObject({ code: 'server_error' });
          await trx.rollback();
        },
        { doNotRejectOnRollback: true },
      );
    }
  });

  test('a public key that somebody puts there is not published', async () => {
    await node().ensure();
    const before = await node().load();
    const { knex } = testDatabase.database;
    await knex('signing_keys').update({ public_jwk: { kty: 'EC', crv: 'P-256', x: 'forged', y: 'forged' } });
    expect(await node().load()).toEqual(before);
  });

  test('a public key that somebody puts there is not listed as the one that the row names', async () => {
    await node().ensure();
    const { knex } = testDatabase.database;
    const listed = async () => (await node().list()).map(({ algorithm, publicJwk }) => [algorithm, publicJwk?.kid]);
    const [first, second] = await node().list();
    expect(await listed()).toEqual([first, second].map((key) => [key?.algorithm, key?.kid]));
    const where = { kid: first?.kid };
    for (const public_jwk of [
      { ...second?.publicJwk, kid: first?.kid, alg: first?.algorithm },
      { ...first?.publicJwk, alg: 'none' },
      { ...first?.publicJwk, kid: 'other' },
      { kid: first?.kid, alg: first?.algorithm, kty: 'EC' },
      {},
    ]) {
      await knex('signing_keys').where(where).update({ public_jwk });
      expect(await listed()).toEqual([
        [first?.algorithm, undefined],
        [second?.algorithm, second?.kid],
      ]);
    }
  });

  test('the list for people has no private part', async () => {
    await node().ensure();
    const text = JSON.stringify(await node().list());
    expect(text).not.toMatch(/sealed|wrapped|"(d|p|q|dp|dq|qi)"/);
  });
});
