import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { demoClients } from '../../src/playground/demo-data.ts';
import { openTestDatabase, type TestDatabase } from '../harness/database.ts';
import { openDatabaseWay } from '../harness/database-way.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import {
  noProcessLeft,
  processesFor,
  type ServerProcess,
  type ServerProcessOptions,
  startServerProcess,
} from '../harness/process.ts';
import { converse, IS_ANSWERED, refusesConnections, requestInHand, SECOND_PART } from '../harness/request-in-hand.ts';
import { lockArtifacts } from '../harness/table-lock.ts';
import { introspect, serviceToken } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';

const IS_GOOD_END = { exitCode: 0, signal: null };
const SERVICE = demoClients.service;
const RESOURCE = { scope: 'files:read', resource: 'urn:demo:files' };

let folder: ReturnType<typeof freshFolder>;
const servers: ServerProcess[] = [];
beforeAll(() => {
  folder = freshFolder();
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.dispose();
  await noProcessLeft(folder.path);
});
afterAll(() => folder.remove());

async function started(options: Partial<ServerProcessOptions> = {}): Promise<ServerProcess> {
  const server = await startServerProcess({ dataDirectory: folder.path, ...options });
  servers.push(server);
  await server.ready();
  return server;
}

describe('a request in hand', () => {
  test.each([
    ['SIGTERM to the server', (server: ServerProcess) => server.signal('SIGTERM')],
    [
      'Ctrl-C, which reaches every process of the group, twice',
      (server: ServerProcess) => {
        server.signalGroup('SIGINT');
        server.signalGroup('SIGINT');
      },
    ],
    [
      'SIGTERM to the whole group, twice',
      (server: ServerProcess) => {
        server.signalGroup('SIGTERM');
        server.signalGroup('SIGTERM');
      },
    ],
  ])('is answered after %s; nothing new is taken, and nothing is left', async (_, signal) => {
    const server = await started();
    const inHand = await requestInHand(server);
    signal(server);
    await refusesConnections(server);
    expect(server.hasEnded()).toBe(false);
    inHand.write(SECOND_PART);
    expect(await server.ended).toEqual(IS_GOOD_END);
    expect(inHand.heard()).toMatch(IS_ANSWERED);
    expect(server.output()).not.toMatch(/WARN|ERROR/);
    await noProcessLeft(folder.path);
  });

  test('that hangs is cut when SHUTDOWN_TIMEOUT has passed', async () => {
    const server = await started({ environment: { SHUTDOWN_TIMEOUT: '1' } });
    const inHand = await requestInHand(server);
    expect(await server.stop()).toEqual(IS_GOOD_END);
    expect(inHand.heard()).not.toContain('HTTP/1.1 200');
    await until('its connection is closed', inHand.isClosed);
  });

  test('under Ctrl-C of npm start, which is the same, is answered too', async () => {
    const server = await started({ command: ['npm', 'start'] });
    const inHand = await requestInHand(server);
    server.signalGroup('SIGINT');
    await refusesConnections(server);
    inHand.write(SECOND_PART);
    await until('the request is answered', () => inHand.heard().includes('"access_token":"'));
    await server.ended;
    expect(server.output()).toContain('stopped');
    await noProcessLeft(folder.path);
  });
});

test('connections without a request do not hold up the end: kept alive, opened in advance, or silent after half a head', async () => {
  // Longer than this test may take.
  const server = await started({ environment: { SHUTDOWN_TIMEOUT: '600' } });
  const keptAlive = await converse(server);
  keptAlive.write(`GET /health/live HTTP/1.1\r\nHost: localhost:${server.port}\r\n\r\n`);
  await until('it is answered', () => keptAlive.heard().includes('"live"'));
  expect(keptAlive.heard()).toMatch(/^Connection: keep-alive/im);
  const openedInAdvance = await converse(server);
  const silent = await converse(server);
  silent.write('POST /token HTTP/1.1\r\n');
  expect(await server.stop()).toEqual(IS_GOOD_END);
  await until('they are closed', () => [keptAlive, openedInAdvance, silent].every(({ isClosed }) => isClosed()));
});

describe('whatever ends the server takes its PostgreSQL along', () => {
  test('SIGKILL', async () => {
    const server = await started();
    expect(processesFor(folder.path).length).toBeGreaterThan(2);
    server.signal('SIGKILL');
    expect(await server.ended).toEqual({ exitCode: null, signal: 'SIGKILL' });
    await noProcessLeft(folder.path);
  });

  test.each([
    ['an error that nobody caught', "setImmediate(() => { throw new Error('out of order') })"],
    ['a rejection that nobody handled', "Promise.reject(new Error('out of order'))"],
  ])('%s, which ends it with 1 and the reason in the log', async (_, crash) => {
    const preload = `process.on('SIGUSR2', () => { ${crash} })`;
    const server = await started({
      command: [process.execPath, `--import=data:text/javascript,${encodeURIComponent(preload)}`, 'src/main.ts'],
    });
    server.signal('SIGUSR2');
    expect(await server.ended).toEqual({ exitCode: 1, signal: null });
    expect(server.output()).toContain('out of order');
    await noProcessLeft(folder.path);
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s in the middle of a start', async (signal) => {
    const server = await startServerProcess({ dataDirectory: folder.path });
    servers.push(server);
    await until('PostgreSQL is being started', () => processesFor(folder.path).length > 1);
    server.signalGroup(signal);
    await server.ended;
    await noProcessLeft(folder.path);
  });
});

describe('with a PostgreSQL of its own choice', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await openTestDatabase();
  });
  afterAll(() => database.close());

  test('an introspection that waits for a lock is answered before the end', async () => {
    const server = await started({ environment: { DATABASE_URL: database.url } });
    const token = await serviceToken(server.address, SERVICE, RESOURCE);
    const lock = await lockArtifacts(database.url);
    const answer = introspect(server.address, SERVICE, token);
    await until('the introspection waits', async () => (await lock.waiters()) > 0);
    server.signal('SIGTERM');
    await refusesConnections(server);
    await lock.release();
    expect(await answer).toMatchObject({ status: 200, body: { active: true } });
    expect(await server.ended).toEqual(IS_GOOD_END);
  });

  async function endsThoughAStatementHangs(): Promise<void> {
    const server = await started({ environment: { DATABASE_URL: database.url, SHUTDOWN_TIMEOUT: '1' } });
    const token = await serviceToken(server.address, SERVICE, RESOURCE);
    const lock = await lockArtifacts(database.url);
    const answer = introspect(server.address, SERVICE, token).catch(() => 'cut');
    await until('the introspection waits', async () => (await lock.waiters()) > 0);
    server.signal('SIGTERM');
    expect(await answer).toBe('cut');
    // By the statement's own limit, or by that of the end where the machine is slow: by itself, while the lock is held.
    expect(await server.ended).toMatchObject({ signal: null });
    await lock.release();
  }

  async function endsThoughTheDatabaseIsSilent(): Promise<void> {
    const another = await openTestDatabase();
    const way = await openDatabaseWay(another.url);
    try {
      const server = await started({ environment: { DATABASE_URL: way.url, SHUTDOWN_TIMEOUT: '1' } });
      const token = await serviceToken(server.address, SERVICE, RESOURCE);
      way.silence();
      const answer = introspect(server.address, SERVICE, token).catch(() => 'cut');
      server.signal('SIGTERM');
      expect(await server.ended).toMatchObject({ signal: null });
      expect(await answer).toBe('cut');
    } finally {
      await way.cut();
      await another.close();
    }
  }

  // At the same time: each takes the whole patience of a server with its database.
  test('neither a statement that hangs nor a database that fell silent holds up the end for ever', async () => {
    await Promise.all([endsThoughAStatementHangs(), endsThoughTheDatabaseIsSilent()]);
  });
});
