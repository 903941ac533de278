import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { composeDomains, openEnvironmentDatabase } from '../../../src/compose/index.ts';
import { loadConfig } from '../../../src/config/index.ts';
import { announceChange, openDatabase } from '../../../src/database/index.ts';
import type { VaultSettings } from '../../../src/keys/vault-transit.ts';
import { createServiceClient, createTestApi } from '../../harness/factories.ts';
import { recordingLogger, silentLogger } from '../../harness/loggers.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { advanceServerSecrets } from '../../harness/server-secret-time.ts';
import { isActive, serviceToken } from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';
import { openTestVault, type TestVault } from '../../harness/vault.ts';

type Environment = Record<string, string>;

let vault: TestVault;
beforeAll(async () => {
  vault = await openTestVault();
});
afterAll(() => vault.close());

const NO_KEY = { KEY_ENCRYPTION_KEY: '' };
const vaultEnvironment = ({ address, token, key }: VaultSettings): Environment => ({
  VAULT_ADDR: address,
  VAULT_TOKEN: token,
  VAULT_TRANSIT_KEY: key,
});

/** Every sealed row, byte by byte. */
async function sealedRows({ domains: { database } }: TestServer): Promise<unknown> {
  return [
    await database.knex('server_secrets').orderBy(['name', 'version']),
    await database.knex('signing_keys').orderBy('kid'),
  ];
}

async function sealedUnder({ domains: { database } }: TestServer): Promise<string[]> {
  const tables = [database.knex('server_secrets'), database.knex('signing_keys')];
  const rows = await Promise.all(tables.map((table) => table.select<{ id: string }[]>('key_encryption_key_id as id')));
  return [...new Set(rows.flat().map(({ id }) => id))];
}

/** The line with which a node does not start on the database of another. @throws where it starts */
async function startFault(node: TestServer, environment: Environment): Promise<string> {
  const { databaseUrl } = node;
  const config = loadConfig({ NODE_ENV: 'test', DATABASE_URL: databaseUrl, LOG_LEVEL: 'silent', ...environment });
  const database = openDatabase({ url: databaseUrl, poolSize: 4, logger: silentLogger });
  const opened = { database, directUrl: databaseUrl, close: () => database.close() };
  try {
    await composeDomains(config, { logger: silentLogger, opened, actor: { kind: 'system' } });
  } catch (error) {
    const { message } = error as Error;
    expect(message).not.toContain('\n');
    return message;
  } finally {
    await database.close();
  }
  throw new Error('it started');
}

async function service({ domains }: TestServer) {
  const api = await createTestApi(domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
  return createServiceClient(domains, api.scopes.map(({ scope }) => scope).join(' '));
}

describe('a server whose keys Vault has wrapped', () => {
  test('starts with Vault alone, a second node too; the token is in no line of the log', async () => {
    const settings = await vault.createKey();
    const environment = { ...vaultEnvironment(settings), ...NO_KEY };
    const { logger, text } = recordingLogger();
    const first = await startTestServer({ environment, logger });
    expect(await sealedUnder(first)).toEqual([`vault:transit/${settings.key}`]);
    const second = await startTestServer({
      node: first,
      environment: { ...environment, ISSUER: first.issuer },
      logger,
    });
    const client = await service(first);
    expect(await isActive(second.address, client, await serviceToken(first.address, client))).toBe(true);
    expect(second.domains.serverSecrets.current().pairwiseSecret).toEqual(
      first.domains.serverSecrets.current().pairwiseSecret,
    );
    await second.close();
    await first.close();
    expect(text()).not.toContain(settings.token);
  });

  test('goes on with what it has when Vault refuses it; what is due can not be made, which is told', async () => {
    const settings = await vault.createKey();
    const server = await startTestServer({ environment: { ...vaultEnvironment(settings), ...NO_KEY } });
    const client = await service(server);
    await vault.deleteKey(settings.key);
    await expect(advanceServerSecrets(server.domains)).rejects.toMatchObject({ code: 'configuration' });
    await server.domains.serverSecrets.reload();
    await server.domains.signingKeys.load();
    expect(await isActive(server.issuer, client, await serviceToken(server.issuer, client))).toBe(true);
    await server.close();
  });

  test('drops a revoked key within a second, though Vault is silent about a secret that was just announced', async () => {
    const silent = await openTestVault({ isStandIn: true });
    const environment = { ...vaultEnvironment(await silent.createKey()), ...NO_KEY };
    const server = await startTestServer({ environment });
    const { signingKeys, database } = server.domains;
    await signingKeys.rotate({ algorithm: 'ES256', now: true });
    const retired = (await signingKeys.list()).find(({ state }) => state === 'retired');
    const publishes = async (kid = '') => (await (await fetch(`${server.issuer}/jwks`)).text()).includes(kid);
    await until('the retired key is published beside the new one', () => publishes(retired?.kid), 1_000);

    silent.standIn?.fail(...Array<'silence'>(1_000).fill('silence'));
    const { name, version, ...row } = await database.knex('server_secrets').where({ name: 'cookie_key' }).first();
    await database.knex.transaction(async (trx) => {
      const wrapped_secret = `${row.wrapped_secret}A`;
      await trx('server_secrets').insert({ ...row, name, version: version + 1, wrapped_secret, activated_at: null });
      await announceChange(trx, 'keys');
    });
    await until('Vault is asked for it', () =>
      silent.standIn?.requests.some(({ body }) => body.includes(`${row.wrapped_secret}A`)),
    );
    await signingKeys.revoke(retired?.kid ?? '', {});
    await until('the revoked key is gone', async () => !(await publishes(retired?.kid)), 1_000);
    await server.close();
    await silent.close();
  });

  test('is asked again by a command that it leaves waiting, whatever it has opened for it before', async () => {
    const faulty = await openTestVault({ isStandIn: true });
    const environment = { ...vaultEnvironment(await faulty.createKey()), ...NO_KEY };
    const server = await startTestServer({ environment });
    const config = loadConfig({
      NODE_ENV: 'test',
      DATABASE_URL: server.databaseUrl,
      LOG_LEVEL: 'silent',
      ...environment,
    });
    const opened = await openEnvironmentDatabase(config, silentLogger);
    const actor = { kind: 'operator' } as const;
    const domains = await composeDomains(config, { logger: silentLogger, opened, actor, isCommand: true });
    await domains.openKeys();
    faulty.standIn?.fail(503);
    expect(await domains.signingKeys.reseal()).toBeGreaterThan(0);
    faulty.standIn?.fail(503);
    expect(await domains.serverSecrets.reseal()).toBeGreaterThan(0);
    await domains.close();
    await server.close();
    await faulty.close();
  });

  test('does not start, in one clear line and with nothing written, without what wrapped them', async () => {
    const settings = await vault.createKey();
    const environment = vaultEnvironment(settings);
    const server = await startTestServer({ environment: { ...environment, ...NO_KEY } });
    const before = await sealedRows(server);
    const localKey = { KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64url') };

    expect(await startFault(server, localKey)).toMatch(/^VAULT_ADDR is not set and does not fit this database/);
    expect(await startFault(server, vaultEnvironment(await vault.createKey()))).toMatch(
      /^VAULT_TRANSIT_KEY does not fit this database/,
    );
    expect(await startFault(server, { ...environment, VAULT_ADDR: 'http://127.0.0.1:1' })).toMatch(
      /^Vault at http:\/\/127\.0\.0\.1:1 does not decrypt \(/,
    );
    await vault.deleteKey(settings.key);
    expect(await startFault(server, environment)).toMatch(/^VAULT_TRANSIT_KEY: Vault has no key/);
    await vault.revokeToken(settings.token);
    expect(await startFault(server, environment)).toMatch(/^VAULT_TOKEN may not decrypt/);
    expect(await sealedRows(server)).toEqual(before);
    await server.close();
  });
});

describe('who keeps the key-encryption key can change:', () => {
  /** As `tessera key reseal` does it, in the environment of a server. */
  async function reseal({ domains }: TestServer): Promise<void> {
    await domains.signingKeys.reseal();
    await domains.serverSecrets.reseal();
  }

  /** The next node of a database, in another environment; what was issued and kept has to be good there. */
  async function next(server: TestServer, environment: Environment): Promise<TestServer> {
    return startTestServer({ node: server, environment: { ...environment, ISSUER: server.issuer } });
  }

  test('from the environment to Vault and back, a node at a time, and everything stays what it was', async () => {
    const settings = await vault.createKey();
    const inVault = vaultEnvironment(settings);
    const local = await startTestServer();
    const localId = await sealedUnder(local);
    const client = await service(local);
    const token = await serviceToken(local.issuer, client);
    const { artifactSealer: _sealer, ...secrets } = local.domains.serverSecrets.current();
    const isSame = async (node: TestServer) => {
      expect(await isActive(node.address, client, token)).toBe(true);
      expect(node.domains.serverSecrets.current()).toMatchObject(secrets);
    };

    const both = await next(local, inVault);
    await isSame(both);
    expect(await sealedUnder(both)).toEqual(localId);
    await reseal(both);
    expect(await sealedUnder(both)).toEqual([`vault:transit/${settings.key}`]);
    const vaultAlone = await next(local, { ...inVault, ...NO_KEY });
    await isSame(vaultAlone);
    expect(await startFault(local, { KEY_ENCRYPTION_KEY: local.keyEncryptionKey })).toMatch(/^VAULT_ADDR is not set/);

    const leaving = await next(local, { ...inVault, VAULT_SEALS: 'false' });
    await isSame(leaving);
    await reseal(leaving);
    expect(await sealedUnder(leaving)).toEqual(localId);
    const localAlone = await next(local, {});
    await isSame(localAlone);
    expect(await startFault(local, inVault)).toMatch(/^KEY_ENCRYPTION_KEY is not set and does not fit/);
    for (const node of [localAlone, leaving, vaultAlone, both, local]) await node.close();
  });

  test("after Vault's own key was rotated, sealing anew takes its newest version", async () => {
    const settings = await vault.createKey();
    const server = await startTestServer({ environment: { ...vaultEnvironment(settings), ...NO_KEY } });
    await vault.rotateKey(settings.key);
    await reseal(server);
    const { knex } = server.domains.database;
    const wrapped = await knex('server_secrets').pluck<string[]>('wrapped_secret');
    expect(wrapped.filter((text) => !text.startsWith('vault:v2:'))).toEqual([]);
    await server.close();
  });
});
