import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import pg from 'pg';
import { query } from '../harness/database.ts';
import { createServiceClient, createTestApi, type TestClient } from '../harness/factories.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import { type ServerProcess, startServerProcess } from '../harness/process.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { isActive, serviceToken } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { type CommandLine, createCommandLine } from '../integration/cli/command-line.ts';

const ROUNDS = 4;
/** Of the nodes that rotate by themselves: in seconds, so that it is always due. */
const POLICY = { KEY_ROTATION_INTERVAL: '4', KEY_ANNOUNCE_TIME: '2' };

let folder: ReturnType<typeof freshFolder>;
let server: TestServer;
let client: TestClient;
let tessera: CommandLine;
beforeAll(async () => {
  folder = freshFolder();
  server = await startTestServer();
  const api = await createTestApi(server.domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
  client = await createServiceClient(server.domains, api.scopes.map(({ scope }) => scope).join(' '));
  tessera = createCommandLine(environment());
});
afterAll(async () => {
  await server.close();
  folder.remove();
});

function environment(): Record<string, string> {
  return {
    NODE_ENV: 'test',
    DATABASE_URL: server.databaseUrl,
    KEY_ENCRYPTION_KEY: server.keyEncryptionKey,
    DATA_DIR: folder.path,
  };
}

async function keys(): Promise<{ kid: string; algorithm: string; state: string }[]> {
  const rows = await query(server.databaseUrl, 'select kid, algorithm, state from signing_keys order by created_at');
  return rows as { kid: string; algorithm: string; state: string }[];
}

/** One key signs for each algorithm, and one is announced at the most. */
async function expectOneActive(): Promise<void> {
  const all = await keys();
  const of = (state: string) => all.filter((key) => key.state === state).map(({ algorithm }) => algorithm);
  expect(of('active').sort()).toEqual(['ES256', 'RS256']);
  expect(of('next')).toHaveLength(new Set(of('next')).size);
}

/** Every JWT of the server is verified by its /jwks of that moment, as long as it lasts. */
function startVerifying(): { verified(): number; stop(): Promise<unknown[]> } {
  const wrong: unknown[] = [];
  let isOver = false;
  let verified = 0;
  const work = (async () => {
    while (!isOver) {
      try {
        const token = await serviceToken(server.issuer, client);
        await jwtVerify(token, createRemoteJWKSet(new URL(`${server.issuer}/jwks`)), { issuer: server.issuer });
        expect(await isActive(server.issuer, client, token)).toBe(true);
        verified += 1;
      } catch (error) {
        wrong.push(error);
      }
    }
  })();
  return {
    verified: () => verified,
    async stop() {
      isOver = true;
      await work;
      return wrong;
    },
  };
}

test('two that rotate at once, again and again, leave one active key of each algorithm, and no token unverified', async () => {
  const verifying = startVerifying();
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = await keys();
    const outcomes = await Promise.all([1, 2].map(() => tessera.run(['key', 'rotate', '--now', '--json'])));
    for (const { exitCode, stderr } of outcomes) expect([exitCode, stderr]).toEqual([0, '']);
    await expectOneActive();
    const active = (await keys()).filter(({ state }) => state === 'active').map(({ kid }) => kid);
    const activeBefore = before.filter(({ state }) => state === 'active').map(({ kid }) => kid);
    expect(active.filter((kid) => activeBefore.includes(kid))).toEqual([]);
    // Both tell of keys that signed; the last of them signs now.
    const told = outcomes
      .flatMap(({ stdout }) => JSON.parse(stdout).rotated as { kid: string }[])
      .map(({ kid }) => kid);
    for (const kid of active) expect(told).toContain(kid);
  }
  expect(verifying.verified()).toBeGreaterThan(ROUNDS);
  expect(await verifying.stop()).toEqual([]);
}, 120_000);

/** Holds whoever records what becomes of a key: in the middle of the transaction that changes it. */
async function holdChanges(): Promise<{ waiters(): Promise<number[]>; release(): Promise<void> }> {
  const locker = new pg.Client({ connectionString: server.databaseUrl });
  await locker.connect();
  await locker.query('begin');
  await locker.query('lock table audit_events in share mode');
  return {
    async waiters() {
      const { rows } = await locker.query(
        `select pid from pg_locks where not granted and relation = 'audit_events'::regclass and exists (
           select from pg_locks held where held.pid = pg_locks.pid and held.locktype = 'relation'
             and held.relation = 'signing_keys'::regclass and held.mode = 'RowExclusiveLock')`,
      );
      return rows.map(({ pid }) => pid as number);
    },
    release: () => locker.end(),
  };
}

async function startRotatingNode(): Promise<ServerProcess> {
  const node = await startServerProcess({ dataDirectory: folder.path, environment: { ...environment(), ...POLICY } });
  await node.ready();
  return node;
}

test('a node that is killed in the middle of a rotation leaves the keys as they were, and another one rotates them', async () => {
  const dying = await startRotatingNode();
  const heir = await startTestServer({ node: server, environment: POLICY });
  try {
    const start = await keys();
    await until('it rotates', async () => (await keys()).length > start.length);
    const changes = await holdChanges();
    await until('it is in the middle of a change', async () => (await changes.waiters()).length > 0);
    const before = await keys();
    dying.signal('SIGKILL');
    await dying.ended;
    await until('its transaction has ended', async () => (await changes.waiters()).length === 0);
    expect(await keys()).toEqual(before);
    await changes.release();
    await expectOneActive();

    const verifying = startVerifying();
    const activeOf = (all: Awaited<ReturnType<typeof keys>>) =>
      all.find(({ algorithm, state }) => algorithm === 'ES256' && state === 'active')?.kid;
    // What its scheduled work does when the dead one gave no sign of life for half a minute.
    await until('another key signs', async () => {
      await heir.domains.signingKeys.advance();
      return activeOf(await keys()) !== activeOf(before);
    });
    await expectOneActive();
    expect(await verifying.stop()).toEqual([]);
  } finally {
    await dying.dispose();
    await heir.close();
  }
}, 120_000);
