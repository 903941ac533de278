import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { composeDomains } from '../../../src/compose/index.ts';
import { loadConfig } from '../../../src/config/index.ts';
import { openDatabase } from '../../../src/database/index.ts';
import { openServerSecrets } from '../../../src/keys/index.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const secrets = () => server.domains.database.knex('server_secrets').orderBy(['name', 'version']);
const stored = async () => [
  await secrets(),
  await server.domains.database.knex('signing_keys').orderBy('kid'),
  await server.domains.database.knex('audit_events').orderBy('id'),
];

let kept: Record<string, unknown>[];
beforeEach(async () => {
  kept = await secrets();
});
afterEach(async () => {
  await secrets().delete();
  await secrets().insert(kept);
});

/** Why another node does not start on the same database; undefined where it would. */
async function startFault(keyEncryptionKey: string): Promise<unknown> {
  const { databaseUrl: url } = server;
  const config = loadConfig({ NODE_ENV: 'test', DATABASE_URL: url, KEY_ENCRYPTION_KEY: keyEncryptionKey });
  const database = openDatabase({ url, poolSize: 4, logger: silentLogger });
  const opened = { database, directUrl: url, close: () => database.close() };
  try {
    const node = await composeDomains(config, { logger: silentLogger, opened, actor: { kind: 'system' } });
    await node.close();
    return undefined;
  } catch (error) {
    await database.close();
    return error;
  }
}

describe.each([
  ['all secrets', undefined],
  ['the pairwise secret', 'pairwise_secret'],
  ['the key of sealed rows', 'artifact_key'],
])('a database in use that has lost %s', (_, name) => {
  beforeEach(async () => {
    await (name === undefined ? secrets() : secrets().where({ name })).delete();
  });

  test('takes nothing from a start with another key-encryption key', async () => {
    const before = await stored();
    expect(await startFault(randomBytes(32).toString('base64url'))).toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(/^KEY_ENCRYPTION_KEY does not fit this database[^\n]+$/),
    });
    expect(await stored()).toEqual(before);
  });

  test('gets none in its place: a start says what was lost in one line, and writes nothing', async () => {
    const before = await stored();
    expect(await startFault(server.keyEncryptionKey)).toMatchObject({
      code: 'server_error',
      message: expect.stringMatching(
        new RegExp(`^[^\n]*lost [^\n]*${name ?? 'artifact_key'}[^\n]*from a backup[^\n]*$`),
      ),
    });
    expect(await stored()).toEqual(before);
  });

  test('starts when it is restored', async () => {
    await secrets().delete();
    await secrets().insert(kept);
    expect(await startFault(server.keyEncryptionKey)).toBeUndefined();
    const { knex } = server.domains.database;
    const opened = await openServerSecrets({ knex, wrapper: server.domains.keyWrapper });
    expect(opened?.pairwiseSecret).toEqual(server.domains.serverSecrets.current().pairwiseSecret);
  });
});
