import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Database } from '../../src/database/index.ts';
import { seedDemoData } from '../../src/playground/index.ts';
import { openTestDatabase, type TestDatabase } from '../harness/database.ts';
import { createServiceClient, createTestApi, createTestClient, type TestClient } from '../harness/factories.ts';
import { authorizationRequest } from '../harness/flows.ts';
import { CHECKOUT, freePort, type ServerProcess, startServerProcess } from '../harness/process.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

const ISSUER = 'https://id.example.com';

let folder: string;
const servers: ServerProcess[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tessera-production-'));
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.dispose();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const newKey = () => randomBytes(32).toString('base64url');

async function start(environment: Record<string, string>): Promise<ServerProcess> {
  const server = await startServerProcess({
    dataDirectory: folder,
    environment: { NODE_ENV: 'production', METRICS_PORT: String(await freePort()), ...environment },
  });
  servers.push(server);
  return server;
}

async function refusal(environment: Record<string, string>): Promise<string[]> {
  const server = await start(environment);
  expect(await server.ended).toEqual({ exitCode: 1, signal: null });
  return server.faults();
}

describe('production refuses to start', () => {
  test('with nothing set, naming all that it wants', async () => {
    expect(await refusal({})).toEqual([
      expect.stringMatching(/^ISSUER wants .*https/),
      expect.stringMatching(/^DATABASE_URL wants .*PostgreSQL/),
      expect.stringMatching(/^KEY_ENCRYPTION_KEY wants 32 random bytes/),
    ]);
  });

  test('with several faults of several kinds, one line for each', async () => {
    const missing = join(folder, 'missing');
    expect(
      await refusal({
        ISSUER: 'http://id.example.com',
        DATABASE_URL: 'mysql://localhost/tessera',
        KEY_ENCRYPTION_KEY: 'short',
        COOKIE_KEYS: newKey(),
        COOKIE_KEYS_FILE: missing,
        DATABASE_DIRECT_URL_FILE: missing,
        PORT: 'http',
        TRUST_PROXY: 'everybody',
        SESSION_TTL: '-1',
      }).then((lines) => lines.sort()),
    ).toEqual([
      expect.stringMatching(/^COOKIE_KEYS and COOKIE_KEYS_FILE are both set/),
      expect.stringMatching(/^DATABASE_DIRECT_URL_FILE wants a file that can be read/),
      expect.stringMatching(/^DATABASE_URL wants a PostgreSQL URL/),
      expect.stringMatching(/^ISSUER wants https in production/),
      expect.stringMatching(/^KEY_ENCRYPTION_KEY wants 32 random bytes/),
      expect.stringMatching(/^PORT wants a whole number/),
      expect.stringMatching(/^SESSION_TTL wants a whole number/),
      expect.stringMatching(/^TRUST_PROXY wants addresses or CIDR ranges/),
    ]);
  });

  test.each([`${ISSUER}/`, `${ISSUER}/auth`, 'http://localhost:3000', 'https://ID.example.com'])(
    'with the issuer %s',
    async (issuer) => {
      const given = { ISSUER: issuer, DATABASE_URL: 'postgres://localhost/none', KEY_ENCRYPTION_KEY: newKey() };
      expect(await refusal(given)).toEqual([expect.stringMatching(/^ISSUER wants/)]);
    },
  );

  describe('on a database', () => {
    let database: TestDatabase;
    afterEach(async () => {
      for (const server of servers.splice(0)) await server.dispose();
      await database.close();
    });

    const settings = () => ({ ISSUER, DATABASE_URL: database.url, KEY_ENCRYPTION_KEY: newKey() });

    test('whose migrations are pending, and leaves it alone', async () => {
      database = await openTestDatabase({ isMigrated: false });
      expect(await refusal(settings())).toEqual([expect.stringMatching(/^DATABASE_URL .*tessera migrate up/)]);
      const tables = await database.database.knex('pg_tables').where({ schemaname: 'public', tablename: 'accounts' });
      expect(tables).toEqual([]);
    });

    test('with demo data, naming each and how to remove it; and starts when that was done', async () => {
      database = await openTestDatabase();
      const node = await startTestServer({ node: { databaseUrl: database.url, keyEncryptionKey: newKey() } });
      await seedDemoData({ ...node.domains, issuer: node.issuer });
      await node.close();
      const environment = { ...settings(), KEY_ENCRYPTION_KEY: node.keyEncryptionKey };
      const lines = await refusal(environment);
      const commands = lines.map(
        (line) => /^DATABASE_URL has demo data: .*; remove it with: tessera (.*)$/.exec(line)?.[1],
      );
      for (const id of [
        'demo-web',
        'demo-service',
        'demo-native',
        'urn:demo:files',
        'urn:demo:notes',
        'demo@example.com',
      ]) {
        expect(commands).toContainEqual(expect.stringMatching(` delete ${id}$`));
      }
      for (const command of commands) {
        execFileSync(process.execPath, ['src/cli/tessera.ts', ...String(command).split(' ')], {
          cwd: CHECKOUT,
          env: { PATH: process.env.PATH, NODE_ENV: 'production', ...environment },
        });
      }
      const server = await start(environment);
      await server.ready();
    });

    test('that was set up with another KEY_ENCRYPTION_KEY, and changes nothing in it', async () => {
      database = await openTestDatabase();
      const node = await startTestServer({ node: { databaseUrl: database.url, keyEncryptionKey: newKey() } });
      await createTestClient(node.domains);
      await node.close();
      const before = await contentOf(database.database);
      expect(await refusal(settings())).toEqual([expect.stringMatching(/^KEY_ENCRYPTION_KEY does not fit/)]);
      expect(await contentOf(database.database)).toEqual(before);
    });
  });
});

/** A digest of every table's rows. */
async function contentOf({ knex }: Database): Promise<Record<string, string>> {
  const content: Record<string, string> = {};
  const tables = await knex('pg_tables')
    .select('schemaname', 'tablename')
    .whereNotIn('schemaname', ['pg_catalog', 'information_schema']);
  for (const { schemaname, tablename } of tables) {
    const { rows } = await knex.raw(`select md5(string_agg(t::text, '|' order by t::text)) as digest from ??.?? t`, [
      schemaname,
      tablename,
    ]);
    content[`${schemaname}.${tablename}`] = rows[0].digest;
  }
  return content;
}

describe('production with nothing but ISSUER, DATABASE_URL and KEY_ENCRYPTION_KEY', () => {
  let setUp: TestServer;
  let server: ServerProcess;
  let client: TestClient;
  beforeAll(async () => {
    setUp = await startTestServer();
    client = await createTestClient(setUp.domains);
  });
  beforeEach(async () => {
    server = await start({ ISSUER, DATABASE_URL: setUp.databaseUrl, KEY_ENCRYPTION_KEY: setUp.keyEncryptionKey });
    await server.ready();
  });
  afterAll(() => setUp.close());

  /** As a proxy in front of it asks, which ends TLS. */
  async function ask(path: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}) {
    const { body, ...init } = options;
    const { response, content } = await new Promise<{
      response: { statusCode?: number | undefined; headers: NodeJS.Dict<string | string[]> };
      content: string;
    }>((resolve, reject) => {
      const sent = request(
        { host: 'localhost', port: server.port, path, ...init, headers: { host: 'id.example.com', ...init.headers } },
        async (incoming) => resolve({ response: incoming, content: await text(incoming) }),
      );
      sent.on('error', reject).end(body);
    });
    return { status: response.statusCode, headers: response.headers, body: content };
  }

  test('serves the issuer over https: endpoints, cookies and headers; and nothing that is for development', async () => {
    const discovery = await ask('/.well-known/openid-configuration');
    const metadata = JSON.parse(discovery.body) as Record<string, unknown>;
    expect(metadata.issuer).toBe(ISSUER);
    for (const [name, value] of Object.entries(metadata)) {
      if (name.endsWith('_endpoint') || name === 'jwks_uri') expect(value).toMatch(/^https:\/\/id\.example\.com\//);
    }
    expect(discovery.headers['strict-transport-security']).toMatch(/max-age=\d{8}/);

    const { pathname, search } = new URL(authorizationRequest(ISSUER, client.id).url);
    const authorization = await ask(pathname + search);
    expect(authorization.status).toBe(303);
    expect(authorization.headers.location).toMatch(/^(https:\/\/id\.example\.com)?\/interaction\//);
    const cookies = [authorization.headers['set-cookie'] ?? []].flat();
    const page = await ask(new URL(String(authorization.headers.location), ISSUER).pathname, {
      headers: { cookie: cookies.map((line) => line.split(';')[0]).join('; ') },
    });
    expect(page.status).toBe(200);
    cookies.push(...[page.headers['set-cookie'] ?? []].flat());
    for (const attribute of [/; secure/i, /; httponly/i, /; samesite=lax/i]) {
      for (const cookie of cookies) expect(cookie).toMatch(attribute);
    }
    // Bound to this host, whatever a sibling domain sets (RFC 6265bis, section 4.1.3.2).
    const ofTheWholeHost = cookies.filter((line) => /; path=\/(;|$)/i.test(line));
    expect(ofTheWholeHost.length).toBeGreaterThan(0);
    for (const cookie of ofTheWholeHost) expect(cookie).toMatch(/^__Host-/);
    for (const cookie of cookies) expect(cookie).toMatch(/^__(Host|Secure)-/);

    expect((await ask('/')).status).toBe(404);
    expect((await ask('/playground/callback')).status).toBe(404);
    expect(await setUp.domains.clients.list()).toMatchObject([{ id: client.id }]);
    expect(await setUp.domains.accounts.findByLogin('demo@example.com')).toBeUndefined();
    // One JSON value a line, for machines.
    for (const line of server.output().trimEnd().split('\n')) expect(JSON.parse(line)).toHaveProperty('time');
    expect(server.output()).not.toContain('playground on');
  });

  test('issues tokens; secrets may come from mounted files', async () => {
    const api = await createTestApi(setUp.domains);
    const service = await createServiceClient(setUp.domains, api.scopes.map(({ scope }) => scope).join(' '));
    const keyFile = join(folder, 'key');
    writeFileSync(keyFile, `${setUp.keyEncryptionKey}\n`);
    await server.dispose();
    server = await start({ ISSUER, DATABASE_URL: setUp.databaseUrl, KEY_ENCRYPTION_KEY_FILE: keyFile });
    await server.ready();
    const issued = await ask('/token', {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        authorization: `Basic ${Buffer.from(`${service.id}:${service.secret}`).toString('base64')}`,
      },
      body: 'grant_type=client_credentials',
    });
    expect([issued.status, JSON.parse(issued.body)]).toEqual([200, expect.objectContaining({ token_type: 'Bearer' })]);
  });
});
