import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createAudit } from '../../../src/audit/index.ts';
import { openDatabase } from '../../../src/database/index.ts';
import {
  createKeyWrapper,
  createServerSecrets,
  openServerSecrets,
  type ServerSecrets,
} from '../../../src/keys/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { silentLogger } from '../../harness/loggers.ts';

const clock = () => Date.UTC(2026, 10, 24);
const keyEncryptionKey = randomBytes(32);

let testDatabase: TestDatabase;
beforeEach(async () => {
  testDatabase = await openTestDatabase();
});
afterEach(() => testDatabase.close());

/** The secrets as one node of the test database gets them. */
async function start(keyEncryptionKeys: Buffer[] = [keyEncryptionKey], knex = testDatabase.database.knex) {
  const secrets = createServerSecrets({
    knex,
    wrapper: createKeyWrapper({ keyEncryptionKeys }),
    audit: createAudit({ knex, clock, logger: silentLogger }),
    policy: { rotationSeconds: 100, announceSeconds: 10, longestCookieSeconds: 50, rotatesCookieKeys: true },
  });
  await secrets.ensure();
  return secrets.current();
}

const rows = () => testDatabase.database.knex('server_secrets').orderBy(['name', 'version']);

/** Values to compare by; what seals is compared by whether one opens what the other has sealed. */
function values({ cookieKeys, artifactSealer: _sealer, ...keys }: ServerSecrets): string[] {
  return [...cookieKeys, ...Object.values(keys).map((key) => key.toString('base64url'))];
}

describe("the server's secrets", () => {
  test('are 32 bytes each, all different, and the same at every start', async () => {
    const first = await start();
    const second = await start();
    expect(values(second)).toEqual(values(first));
    expect(new Set(values(first)).size).toBe(6);
    for (const value of values(first)) expect(Buffer.from(value, 'base64url')).toHaveLength(32);
    expect(second.artifactSealer.unseal(first.artifactSealer.seal('value', 'row'), 'row')).toBe('value');
  });

  test('are opened without making any: undefined while one is missing, else what was made', async () => {
    const open = () =>
      openServerSecrets({
        knex: testDatabase.database.knex,
        wrapper: createKeyWrapper({ keyEncryptionKeys: [keyEncryptionKey] }),
      });
    expect(await open()).toBeUndefined();
    expect(await rows()).toEqual([]);
    const made = await start();
    expect(values((await open()) as ServerSecrets)).toEqual(values(made));
    await testDatabase.database.knex('server_secrets').where({ name: 'csrf_key' }).delete();
    expect(await open()).toBeUndefined();
    expect(await rows()).toHaveLength(6);
  });

  test('are the same on all nodes that start at once on an empty database', async () => {
    const databases = Array.from({ length: 8 }, () =>
      openDatabase({ url: testDatabase.url, poolSize: 2, logger: silentLogger }),
    );
    const all = await Promise.all(databases.map(({ knex }) => start([keyEncryptionKey], knex)));
    await Promise.all(databases.map((database) => database.close()));
    expect(await rows()).toHaveLength(7);
    const sealed = all[0]?.artifactSealer.seal('value', 'row') ?? '';
    for (const secrets of all) {
      expect(values(secrets)).toEqual(values(all[0] as ServerSecrets));
      expect(secrets.artifactSealer.unseal(sealed, 'row')).toBe('value');
    }
  });

  test('nodes with different key-encryption keys do not mix theirs: all but one refuse to start', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 6 }, () => start([randomBytes(32)])));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(new Set((await rows()).map((row) => row.key_encryption_key_id)).size).toBe(1);
  });

  test('a key-encryption key that does not fit stops the start, named, and nothing is written', async () => {
    await start();
    await testDatabase.database.knex('server_secrets').where({ name: 'csrf_key' }).delete();
    const before = await rows();
    await expect(start([randomBytes(32)])).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(/^KEY_ENCRYPTION_KEY [^\n]+$/),
    });
    expect(await rows()).toEqual(before);
  });

  test('one that is missing is made, the others stay', async () => {
    const first = await start();
    await testDatabase.database.knex('server_secrets').where({ name: 'csrf_key' }).delete();
    const second = await start();
    expect(second.csrfKey).not.toEqual(first.csrfKey);
    expect(second.userCodeKey).toEqual(first.userCodeKey);
  });

  test('a new key-encryption key in front of the old one opens them', async () => {
    const first = await start();
    expect(values(await start([randomBytes(32), keyEncryptionKey]))).toEqual(values(first));
  });

  test('one that is put in the place of another does not open', async () => {
    await start();
    const { knex } = testDatabase.database;
    const { wrapped_secret } = await knex('server_secrets').where({ name: 'csrf_key' }).first();
    await knex('server_secrets').where({ name: 'user_code_key' }).update({ wrapped_secret });
    await expect(start()).rejects.toMatchObject({
      code: 'server_error',
      message: expect.stringContaining('user_code_key was altered'),
    });
  });

  test('stand in the database in no encoding', async () => {
    const secrets = await start();
    const dump = JSON.stringify(await rows());
    for (const value of values(secrets)) {
      const bytes = Buffer.from(value, 'base64url');
      for (const encoding of ['base64url', 'base64', 'hex'] as const)
        expect(dump).not.toContain(bytes.toString(encoding));
    }
  });

  test('do not print', async () => {
    const secrets = await start();
    expect(JSON.stringify(secrets) + inspect(secrets) + inspect({ secrets })).not.toMatch(/Buffer|cookieKeys/);
  });
});
