import { execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { demoClients } from '../../src/playground/demo-data.ts';
import { openTestDatabase, query, type TestDatabase } from '../harness/database.ts';
import { unique } from '../harness/factories.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import {
  CHECKOUT,
  freePort,
  noProcessLeft,
  type ServerProcess,
  type ServerProcessOptions,
  startServerProcess,
} from '../harness/process.ts';
import { IS_ANSWERED, refusesConnections, requestInHand, SECOND_PART } from '../harness/request-in-hand.ts';
import { type Client, clientCredentials, isActive, revoke, serviceToken } from '../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../harness/until.ts';
import { basic, FORM, formBody, type RawAnswer, type RawRequest, rawRequest } from '../security/raw-http.ts';

const IS_GOOD_END = { exitCode: 0, signal: null };
const SERVICE = demoClients.service;
const RESOURCE = { scope: 'files:read', resource: 'urn:demo:files' };
const WORKERS = 2;

let folder: ReturnType<typeof freshFolder>;
let database: TestDatabase;
const servers: ServerProcess[] = [];
beforeAll(async () => {
  folder = freshFolder();
  database = await openTestDatabase();
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.dispose();
  await noProcessLeft(folder.path);
});
afterAll(async () => {
  await database.close();
  folder.remove();
});

type Settings = Record<string, string>;

async function start(environment: Settings = {}, options: Partial<ServerProcessOptions> = {}): Promise<ServerProcess> {
  const server = await startServerProcess({
    dataDirectory: folder.path,
    environment: { DATABASE_URL: database.url, WORKERS: String(WORKERS), ...environment },
    ...options,
  });
  servers.push(server);
  return server;
}

/** A server of which every worker is ready. */
async function started(environment: Settings = {}, options: Partial<ServerProcessOptions> = {}) {
  const server = await start(environment, options);
  await until('every worker is ready', () => {
    if (server.hasEnded()) throw new Error(server.output());
    return server.output().includes('listening on port');
  });
  return server;
}

/** A server on the embedded database. */
async function startedWithItsDatabase(environment: Settings = {}): Promise<ServerProcess> {
  return started(environment, { environment: { WORKERS: String(WORKERS), ...environment } });
}

/** Whose line of this request stands in the log. */
function workerOf(server: ServerProcess, { headers }: RawAnswer): Promise<number> {
  const line = new RegExp(`\\((\\d+)\\): request\\s+requestId: "${String(headers['x-request-id'])}"`);
  return until('the request is logged', () => Number(line.exec(server.output())?.[1]) || undefined);
}

/** The answers of every worker to the same request, each on a connection of its own. */
async function askAll(server: ServerProcess, request: RawRequest, workers = WORKERS): Promise<Map<number, RawAnswer>> {
  const answers = new Map<number, RawAnswer>();
  await until('every worker has answered', async () => {
    const answer = await rawRequest(server.address, request);
    answers.set(await workerOf(server, answer), answer);
    return answers.size === workers;
  });
  return answers;
}

async function pidsOf(server: ServerProcess): Promise<number[]> {
  return [...(await askAll(server, { path: '/jwks' })).keys()];
}

const form = (path: string, client: Client, pairs: [string, string][]): RawRequest => ({
  method: 'POST',
  path,
  headers: { ...FORM, authorization: basic(client) },
  body: formBody(pairs),
});

async function scrape(server: ServerProcess): Promise<string> {
  const response = await fetch(/metrics on (\S+)/.exec(server.output())?.[1] ?? '');
  expect(response.status).toBe(200);
  return response.text();
}

/** The value of one series; 0 where there is none. */
async function metric(server: ServerProcess, series: string): Promise<number> {
  const line = (await scrape(server)).split('\n').find((one) => one.startsWith(`${series} `));
  return Number(line?.slice(series.length) ?? 0);
}

const TOKEN_REQUESTS = 'tessera_token_requests_total{grant_type="client_credentials",outcome="ok"}';

async function everyWorkerIsBack(server: ServerProcess, deaths: number): Promise<void> {
  await until('the dead are replaced', async () => (await metric(server, 'tessera_worker_deaths_total')) === deaths);
  await until('every worker is ready', async () => (await metric(server, 'tessera_workers')) === WORKERS);
}

describe('two workers', () => {
  test('answer on one port, say once where, and have one page of metrics, which adds up what each has done', async () => {
    const server = await started();
    const pids = await pidsOf(server);
    expect(pids).not.toContain(server.pid);
    for (const line of ['listening on port', 'metrics on', 'issuer ', 'playground on']) {
      expect(server.output().split(`INFO: ${line}`)).toHaveLength(2);
    }
    expect(server.output()).toContain(`listening on port ${server.port} of `);
    const request = form('/token', SERVICE, [['grant_type', 'client_credentials'], ...Object.entries(RESOURCE)]);
    const busy = new Set<number>();
    let requests = 0;
    await until('every worker has issued a token', async () => {
      busy.add(await workerOf(server, await rawRequest(server.address, request)));
      requests += 1;
      return busy.size === WORKERS;
    });
    expect(await metric(server, TOKEN_REQUESTS)).toBe(requests);
    const page = await scrape(server);
    expect(page).toContain(`tessera_http_request_duration_seconds_count{endpoint="token"} ${requests}`);
    expect(page).toMatch(new RegExp(`^tessera_workers ${WORKERS}$`, 'm'));
    expect(page).toMatch(/^tessera_build_info\{.*\} 1$/m);
    expect(page).toMatch(/^process_resident_memory_bytes [1-9]/m);
    expect(page).not.toMatch(/ (undefined|null|\[object)/);
    expect(server.faults()).toEqual([]);
    expect(await server.stop()).toEqual(IS_GOOD_END);
  });

  test('hear of a revocation and of what a command changes within a second', async () => {
    const server = await started();
    const token = await serviceToken(server.address, SERVICE, RESOURCE);
    const introspection = form('/introspect', SERVICE, [['token', token]]);
    const actives = async () =>
      [...(await askAll(server, introspection)).values()].map(({ text }) => JSON.parse(text).active);
    expect(await actives()).toEqual([true, true]);
    expect((await revoke(server.address, SERVICE, token)).status).toBe(200);
    await until('it is dead at each', async () => (await actives()).every((isLive) => !isLive), SEEN_WITHIN_MS);

    const tessera = (command: string, ...values: string[]) =>
      execFileSync(process.execPath, ['src/cli/tessera.ts', ...command.split(' '), ...values, '--json'], {
        cwd: CHECKOUT,
        env: { PATH: process.env.PATH, DATA_DIR: folder.path, DATABASE_URL: database.url },
        encoding: 'utf8',
      });
    const id = unique('client');
    const statuses = async (secret: string) => {
      const request = form('/token', { id, secret }, [
        ['grant_type', 'client_credentials'],
        ...Object.entries(RESOURCE),
      ]);
      return [...(await askAll(server, request)).values()].map(({ status }) => status);
    };
    // Each has looked in vain, and may remember it.
    expect(await statuses('unknown')).toEqual([401, 401]);
    const made = tessera('client create --grant client_credentials --name Late --id', id, '--scope', RESOURCE.scope);
    const { client_secret: secret } = JSON.parse(made) as { client_secret: string };
    await until(
      'each knows it',
      async () => (await statuses(secret)).every((status) => status === 200),
      SEEN_WITHIN_MS,
    );

    const scope = `${unique('late')}:read`;
    tessera('api create --format opaque --scope', scope, '--id', `urn:test:${unique('api')}`);
    const documents = async () => [...(await askAll(server, { path: '/.well-known/openid-configuration' })).values()];
    const isKnown = async () => (await documents()).every(({ text }) => text.includes(scope));
    await until('each offers its scope', isKnown, SEEN_WITHIN_MS);
  });

  test('have one playground, whichever of them a browser reaches', async () => {
    const server = await started();
    const html = { accept: 'text/html' };
    const home = await rawRequest(server.address, { path: '/', headers: html });
    const token = /name="_csrf" value="([^"]+)"/.exec(home.text)?.[1] ?? '';
    const cookies = new Map<string, string>();
    const take = ({ headers }: RawAnswer) => {
      for (const line of [headers['set-cookie'] ?? []].flat()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        cookies.set(name, value);
      }
    };
    take(home);
    const path = '/playground/client-credentials';
    const cookie = () => [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    for (let count = 0; count < WORKERS; count += 1) {
      const asked = await rawRequest(server.address, {
        method: 'POST',
        path,
        headers: { ...html, ...FORM, cookie: cookie() },
        body: formBody([
          ['_csrf', token],
          ['api', RESOURCE.resource],
          ['scope', RESOURCE.scope],
        ]),
      });
      expect(asked.status).toBe(303);
      take(asked);
    }
    const pages = await askAll(server, { path, headers: { ...html, cookie: cookie() } });
    for (const { text } of pages.values()) expect(text).toContain('A service has proved who it is');
  });

  test('listen on the same free port on every address where PORT is 0', async () => {
    const server = await started({ PORT: '0', ISSUER: 'http://localhost:1', HOST: '127.0.0.1,127.0.0.2' });
    const port = Number(/listening on port (\d+)/.exec(server.output())?.[1]);
    expect(port).toBeGreaterThan(0);
    for (const host of ['127.0.0.1', '127.0.0.2']) {
      const pids = new Set<number>();
      // Which of them takes a connection is up to the system.
      await until(`every worker answers on ${host}`, async () => {
        const ask = () => rawRequest(`http://${host}:${port}`, { path: '/jwks' });
        for (const answer of await Promise.all(Array.from({ length: 16 }, ask))) {
          expect(answer.status).toBe(200);
          pids.add(await workerOf(server, answer));
        }
        return pids.size === WORKERS;
      });
    }
  });
});

describe('a worker that dies', () => {
  test('is replaced, and what it had acknowledged is there: service goes on', async () => {
    const server = await started();
    const [victim = 0] = await pidsOf(server);
    const acknowledged: string[] = [];
    let isOver = false;
    let issuedSinceDeath = 0;
    let isDead = false;
    const load = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        // A connection of the dead is cut: then there is no answer.
        const answer = await clientCredentials(server.address, SERVICE, RESOURCE).catch(() => undefined);
        if (answer === undefined) continue;
        expect(answer.status).toBe(200);
        acknowledged.push(String(answer.body.access_token));
        if (isDead) issuedSinceDeath += 1;
      }
    });
    let issuedBefore = 0;
    try {
      await until('tokens are issued', () => acknowledged.length > 100);
      process.kill(victim, 'SIGKILL');
      isDead = true;
      issuedBefore = acknowledged.length;
      await everyWorkerIsBack(server, 1);
      await until('tokens are issued again', () => issuedSinceDeath > 100);
    } finally {
      isOver = true;
    }
    await Promise.all(load);
    expect(issuedBefore).toBeGreaterThan(100);
    const verdicts = await Promise.all(acknowledged.map((token) => isActive(server.address, SERVICE, token)));
    expect(verdicts.filter((verdict) => verdict !== true)).toEqual([]);
    expect(await pidsOf(server)).not.toContain(victim);
    expect(await server.stop()).toEqual(IS_GOOD_END);
  });

  test('or hangs takes nothing away from the counters, and a page is answered meanwhile', async () => {
    const server = await started();
    const [frozen = 0] = await pidsOf(server);
    for (let count = 0; count < 10; count += 1) await serviceToken(server.address, SERVICE, RESOURCE);
    expect(await metric(server, TOKEN_REQUESTS)).toBe(10);
    process.kill(frozen, 'SIGSTOP');
    // What it had told before stands for it.
    expect(await scrape(server)).toContain(`${TOKEN_REQUESTS} 10\n`);
    const page = scrape(server);
    process.kill(frozen, 'SIGKILL');
    expect(await page).toContain(`${TOKEN_REQUESTS} 10\n`);
    await everyWorkerIsBack(server, 1);
    expect(await metric(server, TOKEN_REQUESTS)).toBe(10);
  });

  test('leaves the scheduled work, which only one of them does, to another', async () => {
    const server = await started();
    const atWork = async () =>
      (
        await query(
          database.url,
          `select pid from pg_stat_activity where application_name = 'tessera jobs' and datname = current_database()`,
        )
      ).map(({ pid }) => Number(pid));
    const before = await until('the work is under way', async () => {
      const connections = await atWork();
      return connections.length > 0 && connections;
    });
    // One pool of at most two connections.
    expect(before.length).toBeLessThanOrEqual(2);
    const [first = 0, second = 0] = await pidsOf(server);
    process.kill(first, 'SIGKILL');
    await everyWorkerIsBack(server, 1);
    process.kill(second, 'SIGKILL');
    await everyWorkerIsBack(server, 2);
    await until('another works', async () => (await atWork()).some((connection) => !before.includes(connection)));
  });

  /** In processes with this, every worker but the first `count` ends at once with 3. */
  const dieAfter = (count: number) => {
    const program = `import cluster from 'node:cluster'; if (cluster.worker?.id > ${count}) process.exit(3);`;
    return [process.execPath, `--import=data:text/javascript,${encodeURIComponent(program)}`, 'src/main.ts'] as const;
  };

  test('at once after its start is replaced after growing pauses, while the others serve', async () => {
    const server = await started({}, { command: [...dieAfter(WORKERS)] });
    const [victim = 0] = await pidsOf(server);
    process.kill(victim, 'SIGKILL');
    await until('it was tried again and again', () => server.output().includes('pauseMs: 1000'));
    const pauses = [...server.output().matchAll(/pauseMs: (\d+)/g)].map(([, pause]) => Number(pause));
    expect(pauses.slice(0, 3)).toEqual([250, 500, 1_000]);
    expect((await clientCredentials(server.address, SERVICE, RESOURCE)).status).toBe(200);
    expect(await metric(server, 'tessera_workers')).toBe(WORKERS - 1);
    expect(await server.stop()).toEqual(IS_GOOD_END);
  });

  test('before any was ever ready ends the start, in one line', async () => {
    const server = await start({}, { command: [...dieAfter(0)] });
    expect(await server.ended).toEqual({ exitCode: 1, signal: null });
    expect(server.faults()).toEqual(['every worker ended before it was ready: exit code 3']);
    await noProcessLeft(folder.path);
  });
});

test.each(['PORT', 'METRICS_PORT'])('a %s that is taken is told in one line, and nothing is left', async (name) => {
  const port = await freePort();
  const taker = createServer();
  await new Promise<void>((resolve) => taker.listen(port, '127.0.0.1', resolve));
  try {
    const server = await start({ [name]: String(port) });
    expect(await server.ended).toEqual({ exitCode: 1, signal: null });
    expect(server.faults()).toEqual([
      expect.stringMatching(new RegExp(`^${name} wants a free port.* ${port} is taken$`)),
    ]);
    await noProcessLeft(folder.path);
  } finally {
    taker.close();
  }
});

describe('a request in hand of each worker', () => {
  /** Connections are dealt out in turn. */
  const inHandOfEach = (server: ServerProcess) =>
    Promise.all(Array.from({ length: 2 * WORKERS }, () => requestInHand(server)));

  test.each([
    ['SIGTERM to the primary', (server: ServerProcess) => server.signal('SIGTERM')],
    [
      'SIGTERM to the whole group, twice',
      (server: ServerProcess) => {
        server.signalGroup('SIGTERM');
        server.signalGroup('SIGTERM');
      },
    ],
    ['Ctrl-C, which reaches every process of the group', (server: ServerProcess) => server.signalGroup('SIGINT')],
  ])('is answered after %s; nothing new is taken, and nothing is left', async (_, signal) => {
    const server = await startedWithItsDatabase();
    const inHand = await inHandOfEach(server);
    signal(server);
    await refusesConnections(server);
    expect(server.hasEnded()).toBe(false);
    for (const { write } of inHand) write(SECOND_PART);
    expect(await server.ended).toEqual(IS_GOOD_END);
    for (const { heard } of inHand) expect(heard()).toMatch(IS_ANSWERED);
    await noProcessLeft(folder.path);
  });

  test('is answered after SIGKILL of the primary; then the workers and the database end by themselves', async () => {
    const server = await startedWithItsDatabase();
    const inHand = await inHandOfEach(server);
    server.signal('SIGKILL');
    await refusesConnections(server);
    for (const { write } of inHand) write(SECOND_PART);
    await until('all are answered', () => inHand.every(({ heard }) => IS_ANSWERED.test(heard())));
    await noProcessLeft(folder.path);
  });

  test('that hangs is cut when SHUTDOWN_TIMEOUT has passed', async () => {
    const server = await started({ SHUTDOWN_TIMEOUT: '1' });
    const inHand = await inHandOfEach(server);
    expect(await server.stop()).toEqual(IS_GOOD_END);
    for (const { heard } of inHand) expect(heard()).not.toContain('HTTP/1.1 200');
  });
});

test('a worker that can’t be ended is killed with the primary, which says so by its exit code', async () => {
  const server = await started({ SHUTDOWN_TIMEOUT: '1' });
  const [frozen = 0] = await pidsOf(server);
  process.kill(frozen, 'SIGSTOP');
  expect(await server.stop()).toEqual({ exitCode: 1, signal: null });
  await noProcessLeft(folder.path);
});
