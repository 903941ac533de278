import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { composeDomains, composeServer } from '../../../src/compose/index.ts';
import { loadConfig } from '../../../src/config/index.ts';
import { openDatabase } from '../../../src/database/index.ts';
import { demoApis } from '../../../src/playground/demo-data.ts';
import {
  demoClients,
  demoDataFaults,
  demoSignIn,
  seedDemoData,
  settleDemoData,
} from '../../../src/playground/index.ts';
import { createTestAccount, createTestClient } from '../../harness/factories.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const seed = (issuer = 'http://localhost:3000') => seedDemoData({ ...server.domains, issuer });
const newestEvent = async () => (await server.domains.audit.tail({ limit: 1 }))[0]?.id;

function configOf({ databaseUrl, keyEncryptionKey }: TestServer, environment: string) {
  return loadConfig({
    NODE_ENV: environment,
    ISSUER: 'https://id.example.com',
    DATABASE_URL: databaseUrl,
    KEY_ENCRYPTION_KEY: keyEncryptionKey,
    LOG_LEVEL: 'silent',
  });
}

/** Another node on the database of a server; it listens to no changes until it is started. */
async function composeOn(other: TestServer, environment: string) {
  const database = openDatabase({ url: other.databaseUrl, poolSize: 5, logger: silentLogger });
  const opened = { database, directUrl: other.databaseUrl, close: () => database.close() };
  return composeDomains(configOf(other, environment), { logger: silentLogger, opened, actor: { kind: 'system' } });
}

describe('demo data', () => {
  test('are made by several servers at once as if by one', async () => {
    expect(await Promise.all([seed(), seed(), seed()])).toEqual([[], [], []]);
    const { accounts, apis, clients } = server.domains;
    expect(await accounts.authenticate(demoSignIn.email, demoSignIn.password)).toMatchObject({ ok: true });
    for (const client of [demoClients.web, demoClients.service]) {
      expect(await clients.verifySecret(client.id, client.secret)).toBe(true);
    }
    expect(await clients.find(demoClients.native.id)).toMatchObject({ isDemo: true, hasSecret: false });
    const made = (await apis.list()).filter(({ isDemo }) => isDemo);
    expect(made.map(({ identifier, tokenFormat }) => [identifier, tokenFormat])).toEqual([
      ['urn:demo:files', 'opaque'],
      ['urn:demo:notes', 'jwt'],
    ]);
    for (const api of made) expect(api.introspectionClientIds).toEqual([demoClients.service.id]);
  });

  test('keep to the signing algorithms that are offered', async () => {
    const plain = await startTestServer({ environment: { SIGNING_ALGORITHMS: 'RS256' } });
    try {
      expect(await seedDemoData({ ...plain.domains, issuer: plain.issuer })).toEqual([]);
      expect(await plain.domains.apis.find('urn:demo:notes')).toMatchObject({ signingAlgorithm: 'RS256' });
    } finally {
      await plain.close();
    }
  });

  test('stay as they are when they are made again, what a developer changed included', async () => {
    await seed();
    const account = await server.domains.accounts.findByLogin(demoSignIn.email);
    await server.domains.accounts.setPassword(account?.id ?? '', 'another password of mine');
    await server.domains.clients.update(demoClients.native.id, { metadata: { client_name: 'Mine' } });
    const before = await newestEvent();
    expect(await seed()).toEqual([]);
    expect(await newestEvent()).toBe(before);
    expect((await server.domains.clients.find(demoClients.native.id))?.metadata.client_name).toBe('Mine');
    expect(await server.domains.accounts.authenticate(demoSignIn.email, 'another password of mine')).toMatchObject({
      ok: true,
    });
  });

  test('follow the issuer to another port, and keep the redirect URIs of other copies and of the developer', async () => {
    await seed('http://localhost:3000');
    const before = await server.domains.clients.find(demoClients.web.id);
    await server.domains.clients.update(demoClients.web.id, {
      metadata: { redirect_uris: [...(before?.metadata.redirect_uris ?? []), 'http://localhost:8080/mine'] },
    });
    expect(await seed('http://localhost:4000')).toEqual([]);
    expect((await server.domains.clients.find(demoClients.web.id))?.metadata).toMatchObject({
      client_uri: 'http://localhost:4000',
      redirect_uris: [
        'http://localhost:4000/playground/callback',
        'http://localhost:3000/playground/callback',
        'http://localhost:8080/mine',
      ],
      post_logout_redirect_uris: [
        'http://localhost:4000/playground/signed-out',
        'http://localhost:3000/playground/signed-out',
      ],
    });
  });

  test('come back where they were deleted, with the right to introspect', async () => {
    await seed();
    await server.domains.clients.delete(demoClients.service.id);
    expect(await seed()).toEqual([]);
    expect(await server.domains.clients.verifySecret(demoClients.service.id, demoClients.service.secret)).toBe(true);
    expect((await server.domains.apis.find('urn:demo:notes'))?.introspectionClientIds).toContain(
      demoClients.service.id,
    );
  });

  test('are completed by a node that has not heard yet of the APIs that another one made', async () => {
    const other = await startTestServer();
    const deaf = await composeOn(other, 'test');
    try {
      for (const api of demoApis) expect(await other.domains.apis.create(api)).toMatchObject({ ok: true });
      expect(await seedDemoData({ ...deaf, issuer: 'http://localhost:3000' })).toEqual([]);
    } finally {
      await deaf.close();
      await other.close();
    }
  });

  test('say what could not be made, and are made as far as they can be', async () => {
    const other = await startTestServer();
    try {
      const refusals = await seedDemoData({ ...other.domains, issuer: 'http://192.168.1.20:3000' });
      expect(refusals).toEqual([expect.stringContaining('wants https')]);
      expect(await other.domains.clients.find(demoClients.service.id)).toBeDefined();
    } finally {
      await other.close();
    }
  });
});

describe('a developer’s server', () => {
  async function settle(other: TestServer, issuer: string): Promise<boolean> {
    const { databaseUrl, keyEncryptionKey } = other;
    const config = loadConfig({
      ISSUER: issuer,
      DATABASE_URL: databaseUrl,
      KEY_ENCRYPTION_KEY: keyEncryptionKey,
    });
    await settleDemoData(config, other.domains);
    return (await other.domains.clients.find(demoClients.service.id)) !== undefined;
  }

  test('gives demo data to a database that is empty, at every start', async () => {
    const other = await startTestServer();
    try {
      expect(await settle(other, 'http://localhost:3000')).toBe(true);
      await createTestClient(other.domains);
      await other.domains.clients.delete(demoClients.service.id);
      expect(await settle(other, 'http://localhost:3000')).toBe(true);
    } finally {
      await other.close();
    }
  });

  test('gives none to a database with data of its own', async () => {
    const other = await startTestServer();
    try {
      await createTestAccount(other.domains);
      expect(await settle(other, 'http://localhost:3000')).toBe(false);
    } finally {
      await other.close();
    }
  });

  test('that is reached from elsewhere has neither demo data nor playground', async () => {
    const other = await startTestServer({ environment: { NODE_ENV: 'development', ISSUER: 'https://id.example.com' } });
    try {
      expect(await settle(other, 'https://id.example.com')).toBe(false);
      expect((await fetch(`${other.address}/`)).status).toBe(404);
    } finally {
      await other.close();
    }
  });
});

describe('in production', () => {
  async function composeInProduction() {
    const domains = await composeOn(server, 'production');
    try {
      return await composeServer(configOf(server, 'production'), domains);
    } finally {
      await domains.close();
    }
  }

  test('every demo client, API and account is a reason not to start, with the way to remove it', async () => {
    await seed();
    await expect(composeInProduction()).rejects.toMatchObject({ code: 'configuration' });
    const faults = await demoDataFaults(server.domains);
    expect(faults.map((fault) => fault.slice(fault.indexOf('tessera ')))).toEqual([
      'tessera client delete demo-web',
      'tessera client delete demo-service',
      'tessera client delete demo-native',
      'tessera api delete urn:demo:files',
      'tessera api delete urn:demo:notes',
      'tessera user delete demo@example.com',
    ]);
    for (const fault of faults) expect(fault).toMatch(/^DATABASE_URL has demo data: [^\n]+$/);
  });

  test('the demo account is recognized under whatever name', async () => {
    await seed();
    const { accounts } = server.domains;
    const account = await accounts.findByLogin(demoSignIn.email);
    await accounts.update(account?.id ?? '', { email: 'renamed@example.com', username: null });
    expect(await demoDataFaults(server.domains)).toContainEqual(
      expect.stringContaining('tessera user delete renamed@example.com'),
    );
    await accounts.update(account?.id ?? '', { email: demoSignIn.email, username: 'demo' });
  });

  test('a database with data of its own starts, once the demo data are removed in the order told', async () => {
    await seed();
    await createTestClient(server.domains);
    await createTestAccount(server.domains);
    const { accounts, apis, clients } = server.domains;
    for (const fault of await demoDataFaults(server.domains)) {
      const [, kind, id = ''] = /tessera (\w+) delete (\S+)$/.exec(fault) ?? [];
      if (kind === 'client') expect(await clients.delete(id)).toMatchObject({ ok: true });
      if (kind === 'api') expect(await apis.delete(id)).toMatchObject({ ok: true });
      if (kind === 'user') await accounts.delete((await accounts.findByLogin(id))?.id ?? '');
    }
    expect(await demoDataFaults(server.domains)).toEqual([]);
    const production = await composeInProduction();
    expect(production.handler).toBeDefined();
  });
});
