import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { demoClients, demoSignIn } from '../../src/playground/demo-data.ts';
import { type DatabaseWay, openDatabaseWay } from '../harness/database-way.ts';
import { createServiceClient, createTestApi } from '../harness/factories.ts';
import { signInForTokens } from '../harness/flows.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import { notAsPromised, startLoad } from '../harness/load.ts';
import { freePort, type ServerProcess, startServerProcess } from '../harness/process.ts';
import { startTestServer } from '../harness/server.ts';
import { clientCredentials, introspect, isActive, refresh, revoke, serviceToken } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { type PostgresPair, startPostgresPair } from './postgres-pair.ts';

/** What the service may be away, in milliseconds: from the death of the primary to answers for everybody. */
const LONGEST_OUTAGE_MS = 10_000;
const LOOPS = 16;
const CHAINS = 4;
const SERVICE = demoClients.service;
const NATIVE = { id: demoClients.native.id, secret: '' };
const FILES = { scope: 'files:read', resource: 'urn:demo:files' };
const NATIVE_REDIRECT = { redirect_uri: 'http://127.0.0.1/callback' };

const folder = freshFolder();
const keyEncryptionKey = randomBytes(32).toString('base64url');
let pair: PostgresPair;
/** Stands for the virtual address that leads to whoever is primary. */
let way: DatabaseWay;
let servers: ServerProcess[] = [];
let nodes: string[] = [];

beforeEach(async () => {
  pair = await startPostgresPair();
  way = await openDatabaseWay(pair.primaryUrl);
  const ports = [await freePort(), await freePort()];
  const environment = {
    ISSUER: `http://localhost:${ports[0]}`,
    DATABASE_URL: way.url,
    KEY_ENCRYPTION_KEY: keyEncryptionKey,
    LOG_LEVEL: 'warn',
  };
  for (const port of ports) {
    const server = await startServerProcess({
      dataDirectory: `${folder.path}-${port}`,
      port,
      environment: {
        ...environment,
        METRICS_PORT: String(await freePort()),
      },
    });
    servers.push(server);
    // One after the other: the first makes the tables.
    await server.ready();
  }
  nodes = servers.map(({ address }) => address);
}, 120_000);

afterEach(async () => {
  for (const server of servers) await server.dispose();
  servers = [];
  await way.cut();
  await pair.close();
}, 60_000);
afterAll(() => folder.remove());

async function refreshToken(): Promise<string> {
  const parameters = { scope: 'openid offline_access', prompt: 'consent', ...NATIVE_REDIRECT };
  const credentials = { login: demoSignIn.email, password: demoSignIn.password };
  const tokens = await signInForTokens(nodes[0] ?? '', NATIVE, credentials, {
    parameters,
    redemption: NATIVE_REDIRECT,
  });
  return tokens.refresh_token ?? '';
}

const isReady = async (node: string) => (await fetch(`${node}/health/ready`)).status === 200;
const everyNode = async (state: boolean) => (await Promise.all(nodes.map(isReady))).every((ready) => ready === state);

/** A change on one node that every node follows. @returns how long each took at the most, in milliseconds */
async function timeOfAChange(): Promise<number> {
  const third = await startTestServer({ node: { databaseUrl: way.url, keyEncryptionKey } });
  try {
    const api = await createTestApi(third.domains);
    const scope = api.scopes[0]?.scope ?? '';
    const client = await createServiceClient(third.domains, scope);
    const start = performance.now();
    for (const node of nodes) {
      await until(
        'the change is honoured',
        async () => (await clientCredentials(node, client, { scope })).status === 200,
      );
    }
    return performance.now() - start;
  } finally {
    await third.close();
  }
}

/** Load, the death of the primary, the standby in its place; and what must hold then. */
async function failOver(fault: { begin(): Promise<void>; heal(): void }): Promise<void> {
  const refreshTokens = await Promise.all(Array.from({ length: CHAINS }, refreshToken));
  const load = startLoad({ nodes, loops: LOOPS, refreshTokens, revokesJwts: true });
  await until('all loops work', () => load.every(10));

  const start = performance.now();
  load.enter('outage');
  await fault.begin();
  await until('every node says that it is not ready', () => everyNode(false));
  await pair.promoteStandby();
  fault.heal();
  const promoted = performance.now();
  load.enter('afterwards');
  await until('all loops work again', () => load.every(1));
  const end = performance.now();
  await until('every node is ready', () => everyNode(true));
  await until('all loops work', () => load.every(10));
  await load.stop();
  process.stderr.write(
    `answers for everybody ${Math.round(end - start)} ms after the primary's death, ${Math.round(end - promoted)} ms after the promotion; ` +
      `${load.live.size} tokens live, ${load.revoked.size} revoked\n`,
  );

  expect([...new Set(load.wrong)]).toEqual([]);
  expect(load.someHeard503()).toBe(true);
  expect(load.live.size).toBeGreaterThan(LOOPS);
  expect(load.revoked.size).toBeGreaterThan(LOOPS);
  expect(await notAsPromised(nodes, load.live, true)).toEqual([]);
  expect(await notAsPromised(nodes, load.revoked, false)).toEqual([]);
  for (const token of load.chains) expect((await refresh(nodes[1] ?? '', NATIVE, token)).status).toBe(200);
  expect(end - start).toBeLessThan(LONGEST_OUTAGE_MS);
  expect(await timeOfAChange()).toBeLessThan(1_000 * nodes.length);
}

describe('when the primary dies and the standby is promoted, nothing acknowledged is lost and no verdict is false', () => {
  test(
    'where its connections break',
    () =>
      failOver({
        async begin() {
          // What was acknowledged now would be lost, if anything was.
          await pair.cutOffStandby();
          await pair.killPrimary();
        },
        heal: () => way.moveTo(pair.standbyUrl),
      }),
    120_000,
  );

  test(
    'where its connections fall silent, as with the power',
    () =>
      failOver({
        async begin() {
          way.silence();
          await pair.killPrimary();
        },
        heal() {
          way.moveTo(pair.standbyUrl);
          way.resume();
        },
      }),
    120_000,
  );
});

test('while no standby answers, nothing is acknowledged, and what was is told truly', async () => {
  const [node = ''] = nodes;
  const before = await serviceToken(node, SERVICE, FILES);
  const revoked = await serviceToken(node, SERVICE, FILES);
  expect((await revoke(node, SERVICE, revoked)).status).toBe(200);
  await pair.stopStandby();
  const refused = await Promise.all([clientCredentials(node, SERVICE, FILES), revoke(node, SERVICE, before)]);
  expect(refused.map(({ status }) => status)).toEqual([503, 503]);
  expect(await isActive(node, SERVICE, revoked)).toBe(false);
  // Its revocation waits to be durable: nobody was told yet.
  expect(await isActive(node, SERVICE, before)).toBe(true);
  await pair.startStandby();
  await until('tokens are issued', async () => (await clientCredentials(node, SERVICE, FILES)).status === 200);
}, 120_000);

test('a way that leads to a standby gets no verdict from it, which may be behind', async () => {
  const [node = ''] = nodes;
  const token = await serviceToken(node, SERVICE, FILES);
  way.moveTo(pair.standbyUrl);
  await until('every node says that it is not ready', () => everyNode(false));
  expect((await introspect(node, SERVICE, token)).status).toBe(503);
  expect((await clientCredentials(node, SERVICE, FILES)).status).toBe(503);
  way.moveTo(pair.primaryUrl);
  await until('every node is ready', () => everyNode(true));
  expect(await isActive(node, SERVICE, token)).toBe(true);
}, 120_000);
