import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createAudit } from '../../../src/audit/index.ts';
import { openDatabase } from '../../../src/database/index.ts';
import {
  createKeyWrapper,
  createServerSecrets,
  type KeyWrapper,
  type RotatingServerSecrets,
} from '../../../src/keys/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { silentLogger } from '../../harness/loggers.ts';

const ROTATION_SECONDS = 1_000;
const ANNOUNCE_SECONDS = 100;
const COOKIE_SECONDS = 500;
const RETENTION_SECONDS = COOKIE_SECONDS + 60;
const keyEncryptionKey = randomBytes(32);

let testDatabase: TestDatabase;
beforeEach(async () => {
  testDatabase = await openTestDatabase();
});
afterEach(() => testDatabase.close());

const localWrapper = (...keyEncryptionKeys: Buffer[]) => createKeyWrapper({ keyEncryptionKeys });

type NodeOptions = { wrapper?: KeyWrapper; rotatesCookieKeys?: boolean; knex?: TestDatabase['database']['knex'] };

/** The secrets as one node has them, whose own clock is never asked. */
async function node(options: NodeOptions = {}): Promise<RotatingServerSecrets> {
  const secrets = closedNode(options);
  await secrets.ensure();
  return secrets;
}

/** A node that has opened none of them yet. */
function closedNode(options: NodeOptions): RotatingServerSecrets {
  const knex = options.knex ?? testDatabase.database.knex;
  return createServerSecrets({
    knex,
    wrapper: options.wrapper ?? localWrapper(keyEncryptionKey),
    audit: createAudit({ knex, clock: Date.now, logger: silentLogger }),
    policy: {
      rotationSeconds: ROTATION_SECONDS,
      announceSeconds: ANNOUNCE_SECONDS,
      longestCookieSeconds: COOKIE_SECONDS,
      rotatesCookieKeys: options.rotatesCookieKeys ?? true,
    },
  });
}

/** As if so many seconds had passed for the database. */
async function pass(seconds: number): Promise<void> {
  const earlier = (column: string) =>
    testDatabase.database.knex.raw('?? - make_interval(secs => ?)', [column, seconds]);
  await testDatabase.database.knex('server_secrets').update({
    created_at: earlier('created_at'),
    activated_at: earlier('activated_at'),
    retired_at: earlier('retired_at'),
  });
}

async function versions(name: string): Promise<string[]> {
  const rows = await testDatabase.database.knex('server_secrets').where({ name }).orderBy('version');
  return rows.map(({ version, activated_at, retired_at }) => {
    const state = activated_at === null ? 'next' : retired_at === null ? 'active' : 'retired';
    return `${version} ${state}`;
  });
}

const rows = () => testDatabase.database.knex('server_secrets').orderBy(['name', 'version']);
const events = async (type: string) => {
  const recorded = await testDatabase.database.knex('audit_events').where({ type }).orderBy('id');
  return recorded.map(({ details }) => `${details.name} ${details.version}`).sort();
};
const revision = async () =>
  Number((await testDatabase.database.knex('revisions').where({ topic: 'keys' }).first())?.revision ?? 0);

describe('a secret that rotates', () => {
  test('is announced ahead, takes over when due, verifies until its cookies have expired, and goes', async () => {
    const secrets = await node();
    const [first = ''] = secrets.current().cookieKeys;
    await secrets.advance();
    expect(await versions('cookie_key')).toEqual(['1 active']);

    await pass(ROTATION_SECONDS - ANNOUNCE_SECONDS);
    await secrets.advance();
    await secrets.reload();
    expect(await versions('cookie_key')).toEqual(['1 active', '2 next']);
    const [stillFirst, next = ''] = secrets.current().cookieKeys;
    expect([stillFirst, next === '']).toEqual([first, false]);

    await pass(ANNOUNCE_SECONDS);
    await secrets.advance();
    await secrets.reload();
    expect(await versions('cookie_key')).toEqual(['1 retired', '2 active']);
    expect(secrets.current().cookieKeys).toEqual([next, first]);

    await pass(RETENTION_SECONDS - 5);
    await secrets.advance();
    expect(await versions('cookie_key')).toEqual(['1 retired', '2 active']);
    await pass(10);
    await secrets.advance();
    await secrets.reload();
    expect(await versions('cookie_key')).toEqual(['2 active']);
    expect(secrets.current().cookieKeys).toEqual([next]);
    expect(await events('secret.removed')).toEqual(['cookie_key 1', 'dpop_nonce_secret 1']);
  });

  test('does not take over before it was announced for long enough, however late the announcement came', async () => {
    const secrets = await node();
    await pass(10 * ROTATION_SECONDS);
    await secrets.advance();
    expect(await versions('cookie_key')).toEqual(['1 active', '2 next']);
    await pass(ANNOUNCE_SECONDS - 5);
    await secrets.advance();
    expect(await versions('cookie_key')).toEqual(['1 active', '2 next']);
    await pass(10);
    await secrets.advance();
    expect(await versions('cookie_key')).toEqual(['1 retired', '2 active']);
  });

  test('is one for all nodes that advance at once, and the change is recorded and told once', async () => {
    const databases = Array.from({ length: 5 }, () =>
      openDatabase({ url: testDatabase.url, poolSize: 2, logger: silentLogger }),
    );
    const nodes = await Promise.all(databases.map(({ knex }) => node({ knex })));
    await pass(ROTATION_SECONDS);
    await Promise.all(nodes.map((secrets) => secrets.advance()));
    expect(await versions('dpop_nonce_secret')).toEqual(['1 active', '2 next']);
    await pass(ANNOUNCE_SECONDS);
    const before = await revision();
    await Promise.all(nodes.map((secrets) => secrets.advance()));
    expect(await versions('cookie_key')).toEqual(['1 retired', '2 active']);
    expect(await events('secret.announced')).toEqual(['cookie_key 2', 'dpop_nonce_secret 2']);
    expect(await events('secret.rotated')).toEqual(['cookie_key 2', 'dpop_nonce_secret 2']);
    // The old nonce secret went with one of them, or goes with the next.
    expect((await revision()) - before).toBeLessThanOrEqual(2);
    await Promise.all(nodes.map((secrets) => secrets.reload()));
    for (const secrets of nodes) expect(secrets.current().cookieKeys).toEqual(nodes[0]?.current().cookieKeys);
    await Promise.all(databases.map((database) => database.close()));
  });

  test('is the cookie key and the nonce secret alone; all others stay as they were made', async () => {
    const secrets = await node();
    const { cookieKeys: _keys, dpopNonceSecret, artifactSealer, ...constant } = secrets.current();
    const sealed = artifactSealer.seal('value', 'row');
    for (let turn = 0; turn < 6; turn += 1) {
      await pass(ROTATION_SECONDS);
      await secrets.advance();
    }
    await secrets.reload();
    expect(secrets.current()).toMatchObject(constant);
    expect(secrets.current().artifactSealer.unseal(sealed, 'row')).toBe('value');
    expect(secrets.current().dpopNonceSecret).not.toEqual(dpopNonceSecret);
  });

  test('is not the cookie key where the operator gives the cookie keys', async () => {
    const secrets = await node({ rotatesCookieKeys: false });
    await pass(ROTATION_SECONDS);
    await secrets.advance();
    expect(await versions('cookie_key')).toEqual(['1 active']);
    expect(await versions('dpop_nonce_secret')).toEqual(['1 active', '2 next']);
  });

  test('takes over though nobody can wrap at the time; what can not be made is told and made later', async () => {
    const local = localWrapper(keyEncryptionKey);
    let isAway = false;
    const wrap: KeyWrapper['wrap'] = (dataKey, context) => {
      if (isAway) throw new Error('away');
      return local.wrap(dataKey, context);
    };
    const secrets = await node({ wrapper: { ...local, wrap } });
    await pass(ROTATION_SECONDS);
    await secrets.advance();
    isAway = true;
    await pass(ROTATION_SECONDS);
    await secrets.advance();
    expect(await versions('cookie_key')).toEqual(['1 retired', '2 active']);
    await pass(ROTATION_SECONDS);
    await expect(secrets.advance()).rejects.toThrow('away');
    expect(await versions('cookie_key')).toEqual(['2 active']);
    isAway = false;
    await secrets.advance();
    expect(await versions('cookie_key')).toEqual(['2 active', '3 next']);
  });

  test('is opened once: a reload asks for nothing but what is new', async () => {
    const local = localWrapper(keyEncryptionKey);
    const opened: string[] = [];
    const unwrap: KeyWrapper['unwrap'] = (wrapped, context) => {
      opened.push(context);
      return local.unwrap(wrapped, context);
    };
    const secrets = await node({ wrapper: { ...local, unwrap } });
    opened.length = 0;
    await secrets.reload();
    expect(opened).toEqual([]);
    await pass(ROTATION_SECONDS);
    await secrets.advance();
    await secrets.reload();
    expect(opened.sort()).toEqual(['server-secret cookie_key 2', 'server-secret dpop_nonce_secret 2']);
  });

  test('that was announced under another key-encryption key leaves what is in use as it is', async () => {
    const secrets = await node();
    const before = secrets.current();
    await pass(ROTATION_SECONDS);
    await (await node({ wrapper: localWrapper(randomBytes(32), keyEncryptionKey) })).advance();
    await expect(secrets.reload()).rejects.toMatchObject({ code: 'configuration' });
    expect(secrets.current()).toBe(before);
  });
});

describe('sealing the secrets anew', () => {
  const newer = randomBytes(32);

  test('puts all under the newest key-encryption key, which then opens them alone', async () => {
    const secrets = await node();
    await pass(ROTATION_SECONDS);
    await secrets.advance();
    await secrets.reload();
    const before = await rows();
    expect(await closedNode({ wrapper: localWrapper(newer, keyEncryptionKey) }).reseal()).toBe(before.length);
    expect(await events('secret.resealed')).toEqual(before.map(({ name, version }) => `${name} ${version}`).sort());
    const after = await rows();
    for (const [index, row] of after.entries()) {
      const { wrapped_secret, key_encryption_key_id, ...rest } = before[index];
      expect(row).toMatchObject(rest);
      expect([row.wrapped_secret === wrapped_secret, row.key_encryption_key_id === key_encryption_key_id]).toEqual([
        false,
        false,
      ]);
    }
    const { artifactSealer: _sealer, ...values } = secrets.current();
    expect((await node({ wrapper: localWrapper(newer) })).current()).toMatchObject(values);
    await expect(node()).rejects.toMatchObject({ code: 'configuration' });
  });

  test('writes nothing where one of them does not open', async () => {
    await node();
    const { knex } = testDatabase.database;
    const { wrapped_secret } = await knex('server_secrets').where({ name: 'csrf_key' }).first();
    await knex('server_secrets').where({ name: 'user_code_key' }).update({ wrapped_secret });
    const before = await rows();
    const wrapper = localWrapper(newer, keyEncryptionKey);
    await expect(closedNode({ wrapper }).reseal()).rejects.toMatchObject({ code: 'server_error' });
    await expect(closedNode({ wrapper: localWrapper(newer) }).reseal()).rejects.toMatchObject({
      code: 'configuration',
    });
    expect(await rows()).toEqual(before);
    expect(await events('secret.resealed')).toEqual([]);
  });
});

describe('a backup', () => {
  /** What a restore brings back: the rows, in a database that was set up anew. */
  async function restored(): Promise<TestDatabase> {
    const other = await openTestDatabase();
    await other.database.knex('server_secrets').insert(await rows());
    return other;
  }

  test('opens with the same key-encryption key, to the same pairwise secret', async () => {
    const { pairwiseSecret } = (await node()).current();
    const other = await restored();
    expect((await node({ knex: other.database.knex })).current().pairwiseSecret).toEqual(pairwiseSecret);
    await other.close();
  });

  test('refuses to start with another key-encryption key, and stays as it was', async () => {
    await node();
    const other = await restored();
    const { knex } = other.database;
    await expect(node({ knex, wrapper: localWrapper(randomBytes(32)) })).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(/^KEY_ENCRYPTION_KEY [^\n]+$/),
    });
    expect(await knex('server_secrets').orderBy(['name', 'version'])).toEqual(await rows());
    await other.close();
  });
});
