import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { composeDomains, composeServer, type Server } from '../../src/compose/index.ts';
import { loadConfig } from '../../src/config/index.ts';
import { openDatabase } from '../../src/database/index.ts';
import { openTestDatabase, type TestDatabase } from '../harness/database.ts';
import { silentLogger } from '../harness/loggers.ts';
import type { TestServer } from '../harness/server.ts';
import { post } from '../harness/token-requests.ts';
import { findSecret } from './database-dump.ts';
import { rawRequest } from './raw-http.ts';
import { runEverything, type Secrets, serverSecrets, type WholeRun } from './whole-run.ts';

let testDatabase: TestDatabase;
let server: Server;
let running: TestServer;
let run: WholeRun;
let secrets: Secrets;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  const keyEncryptionKey = randomBytes(32).toString('base64url');
  const port = await freePort();
  const config = loadConfig({
    NODE_ENV: 'test',
    HOST: '127.0.0.1',
    PORT: String(port),
    METRICS_PORT: '0',
    DATABASE_URL: testDatabase.url,
    KEY_ENCRYPTION_KEY: keyEncryptionKey,
    ARGON2_MEMORY_KIB: '8192',
    ARGON2_PASSES: '1',
    REGISTRATION: 'token',
  });
  const database = openDatabase({ url: testDatabase.url, poolSize: 10, logger: silentLogger });
  const domains = await composeDomains(config, {
    logger: silentLogger,
    opened: { database, directUrl: testDatabase.url, close: () => database.close() },
    actor: { kind: 'system' },
  });
  server = await composeServer(config, domains);
  await server.start();
  const { issuer } = config;
  running = {
    issuer,
    address: issuer,
    domains,
    databaseUrl: testDatabase.url,
    keyEncryptionKey,
    close: () => server.stop(),
  };
  run = await runEverything(running);
  secrets = new Map([...run.secrets, ...(await serverSecrets(running))]);
});
afterAll(async () => {
  await server.stop();
  await testDatabase.close();
});

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function metrics(): Promise<string> {
  return (await fetch(`http://127.0.0.1:${server.metricsPort()}/metrics`)).text();
}

test('the metrics of a whole run hold no secret, no client and no person', async () => {
  const text = await metrics();
  expect(text).toMatch(/tessera_token_requests_total\{grant_type="authorization_code",outcome="ok"\} [1-9]/);
  const values = [{ place: 'metrics', text }];
  expect([...secrets].filter(([, secret]) => findSecret(values, secret).length > 0).map(([name]) => name)).toEqual([]);
  for (const name of [run.client.id, run.service.id, run.account.id, run.account.login])
    expect(text).not.toContain(name);
});

test('nobody can write into the labels or make their number grow', async () => {
  const { issuer } = running;
  const series = (text: string) =>
    text.split('\n').filter((line) => /^tessera_(http_requests|token)/.test(line)).length;
  await rawRequest(issuer, { path: '/first' });
  await post(`${issuer}/token`, run.client, { grant_type: 'first' });
  const before = series(await metrics());
  for (let turn = 0; turn < 20; turn += 1) {
    const mark = `mark-${turn}`;
    await rawRequest(issuer, { path: `/${mark}` });
    await rawRequest(issuer, { path: `/?${mark}`, headers: { host: mark, 'user-agent': mark } });
    await post(`${issuer}/token`, run.client, { grant_type: mark, client_id: mark });
  }
  const after = await metrics();
  expect(after).not.toContain('mark-');
  // Two more answers of kinds that were not seen before, whatever is sent.
  expect(series(after) - before).toBeLessThanOrEqual(3);
});

test('the metrics tell how many audit events wait, and that none was lost', async () => {
  running.domains.audit.enqueue({ type: 'token.issued', clientId: run.client.id, kind: 'access', scopes: [] });
  expect(await metrics()).toMatch(/^tessera_audit_events_waiting [1-9]/m);
  await running.domains.audit.flush();
  expect(await metrics()).toMatch(/^tessera_audit_events_waiting 0$/m);
  expect(await metrics()).toMatch(/^tessera_audit_events_dropped_total 0$/m);
});

test('the metrics are not to be had on the port that everyone reaches', async () => {
  expect((await rawRequest(running.issuer, { path: '/metrics' })).status).toBe(404);
});
