import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openEmbeddedDatabase } from '../../src/database/embedded/index.ts';
import { demoClients } from '../../src/playground/demo-data.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import { silentLogger } from '../harness/loggers.ts';
import { noProcessLeft, type ServerProcess, startServerProcess } from '../harness/process.ts';
import { noProcessTable, processesOf } from '../harness/process-table.ts';
import { clientCredentials, post, revoke, serviceToken } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { keeperPid } from '../integration/database/embedded-processes.ts';

const SERVICE = demoClients.service;
const FORMATS = [
  { scope: 'files:read', resource: 'urn:demo:files' },
  { scope: 'notes:read', resource: 'urn:demo:notes' },
] as const;
const LOOPS = 20;
const AT_ONCE = 20;

type Answer = Awaited<ReturnType<typeof post>>;
type Phase = 'before' | 'outage' | 'afterwards';

/** What is wrong with an answer to a valid request; undefined where it is 200, or an honest 503. */
function faultOf({ status, body, headers }: Answer): string | undefined {
  if (status === 200) return undefined;
  const isHonest =
    status === 503 && /^[1-9]\d*$/.test(headers.get('retry-after') ?? '') && body.error === 'temporarily_unavailable';
  return isHonest ? undefined : `${status} ${JSON.stringify(body)} retry-after ${headers.get('retry-after')}`;
}

/** Clients that issue, introspect and revoke as fast as they can, and note what they were promised. */
function startLoad(issuer: string) {
  const wrong: string[] = [];
  /** Tokens that were issued, and are not known to be revoked nor maybe. */
  const live = new Set<string>();
  const revoked = new Set<string>();
  let phase: Phase = 'before';
  let isOver = false;
  const good = Array.from({ length: LOOPS }, () => ({ before: 0, outage: 0, afterwards: 0 }));
  const honest = Array.from({ length: LOOPS }, () => 0);

  async function ask(loop: number, what: string, request: Promise<Answer>): Promise<Answer | undefined> {
    const answer = await request.catch((error: unknown) => {
      wrong.push(`${what}: no answer: ${error}`);
      return undefined;
    });
    if (answer === undefined) return undefined;
    const fault = faultOf(answer);
    if (fault !== undefined) wrong.push(`${what}: ${fault}`);
    const counts = good[loop];
    if (answer.status === 200 && counts !== undefined) counts[phase] += 1;
    if (answer.status === 503) honest[loop] = (honest[loop] ?? 0) + 1;
    return answer.status === 200 ? answer : undefined;
  }

  async function verdict(loop: number, token: string, isActive: boolean): Promise<void> {
    const answer = await ask(loop, 'introspect', post(`${issuer}/introspect`, SERVICE, { token }));
    if (answer !== undefined && answer.body.active !== isActive) {
      wrong.push(`a token that is ${isActive ? 'live' : 'revoked'} was said to be active: ${answer.body.active}`);
    }
  }

  async function run(loop: number): Promise<void> {
    const mine: string[] = [];
    for (let turn = 0; !isOver; turn += 1) {
      const format = FORMATS[turn % FORMATS.length] ?? FORMATS[0];
      const issued = await ask(loop, 'token', clientCredentials(issuer, SERVICE, format));
      if (issued !== undefined) {
        const token = String(issued.body.access_token);
        live.add(token);
        mine.push(token);
      }
      const known = mine[Math.floor(Math.random() * mine.length)];
      if (known !== undefined) await verdict(loop, known, true);
      // Opaque ones only: with JWTs there is nothing to delete.
      const given = mine.findIndex((token) => token.split('.').length === 1);
      if (turn % 3 !== 2 || given === -1) continue;
      const [token = ''] = mine.splice(given, 1);
      live.delete(token);
      // After a 503 it may be revoked or not: nobody was told.
      if ((await ask(loop, 'revoke', revoke(issuer, SERVICE, token))) === undefined) continue;
      revoked.add(token);
      await verdict(loop, token, false);
    }
  }

  const loops = Array.from({ length: LOOPS }, (_, loop) => run(loop));
  return {
    wrong,
    live,
    revoked,
    enter(next: Phase) {
      phase = next;
    },
    every: (count: number) => good.every((counts) => counts[phase] >= count),
    everyHeard503: () => honest.every((count) => count > 0),
    async stop() {
      isOver = true;
      await Promise.all(loops);
    },
  };
}

/** Introspects many tokens. @returns those whose state is not what it should be */
async function notAsPromised(issuer: string, tokens: Iterable<string>, isActive: boolean): Promise<unknown[]> {
  const waiting = [...tokens];
  const odd: unknown[] = [];
  const work = async () => {
    for (let token = waiting.pop(); token !== undefined; token = waiting.pop()) {
      const { status, body } = await post(`${issuer}/introspect`, SERVICE, { token });
      if (status !== 200 || body.active !== isActive) odd.push([status, body]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return odd;
}

if (noProcessTable !== undefined) process.stderr.write(`not run on ${process.platform}: ${noProcessTable}\n`);

(noProcessTable === undefined ? describe : describe.skip)('when PostgreSQL is killed under load', () => {
  let folder: ReturnType<typeof freshFolder>;
  let database: Awaited<ReturnType<typeof openEmbeddedDatabase>>;
  let server: ServerProcess;
  beforeAll(async () => {
    folder = freshFolder();
    database = await openEmbeddedDatabase({ dataDirectory: folder.path, logger: silentLogger });
    server = await startServerProcess({
      dataDirectory: `${folder.path}-of-the-server`,
      environment: { DATABASE_URL: database.url, LOG_LEVEL: 'warn', SHUTDOWN_TIMEOUT: '5' },
    });
    await server.ready();
  });
  afterAll(async () => {
    await server.dispose();
    await database.close();
    await noProcessLeft(folder.path);
    folder.remove();
  });

  /** Every process of PostgreSQL at once, while its keeper is held so that it starts no other. */
  function killPostgres(): { letItReturn(): void } {
    const keeper = keeperPid(folder.path);
    process.kill(keeper, 'SIGSTOP');
    for (const pid of processesOf(folder.path)) if (pid !== keeper) process.kill(pid, 'SIGKILL');
    return { letItReturn: () => process.kill(keeper, 'SIGCONT') };
  }

  const ready = async () => {
    const response = await fetch(`${server.address}/health/ready`);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  test('every answer is right or an honest 503, it all comes back by itself, and nothing promised is lost', async () => {
    const load = startLoad(server.address);
    await until('all loops work', () => load.every(5));

    const outage = killPostgres();
    load.enter('outage');
    try {
      await until('every loop has met the outage', () => load.everyHeard503());
      await until('the node says that it is not ready', async () => (await ready()).status === 503);
      const { body } = await ready();
      expect(body).toMatchObject({ status: 'not_ready', checks: { database: 'failed' } });
      expect(body.reasons).toContain('the database does not answer');
      expect((await fetch(`${server.address}/health/live`)).status).toBe(200);
      // Signs and checks nothing in the database.
      for (const path of ['/jwks', '/.well-known/openid-configuration']) {
        expect((await fetch(`${server.address}${path}`)).status).toBe(200);
      }
    } finally {
      outage.letItReturn();
    }
    await until('the node is ready again', async () => (await ready()).status === 200);
    load.enter('afterwards');
    await until('all loops work again', () => load.every(5));
    await load.stop();

    expect(server.hasEnded()).toBe(false);
    expect([...new Set(load.wrong)]).toEqual([]);
    expect(load.live.size).toBeGreaterThan(LOOPS);
    expect(load.revoked.size).toBeGreaterThan(0);
    expect(await notAsPromised(server.address, load.live, true)).toEqual([]);
    expect(await notAsPromised(server.address, load.revoked, false)).toEqual([]);
  });

  test('a wrong secret and an unknown token get no verdict while the database is away', async () => {
    const token = await serviceToken(server.address, SERVICE, FORMATS[0]);
    const outage = killPostgres();
    try {
      await until('the node is not ready', async () => (await ready()).status === 503);
      // Longer than what a node may remember of a client.
      const remembersNothing = async () =>
        (await clientCredentials(server.address, SERVICE, FORMATS[1])).status === 503;
      await until('the node has forgotten the client', remembersNothing);
      const answers = [
        await post(`${server.address}/introspect`, SERVICE, { token }),
        await post(`${server.address}/introspect`, SERVICE, { token: 'unknown' }),
        await post(`${server.address}/introspect`, { ...SERVICE, secret: 'wrong' }, { token }),
        await clientCredentials(server.address, { ...SERVICE, secret: 'wrong' }, FORMATS[0]),
        await clientCredentials(server.address, { id: 'nobody', secret: 'none' }, FORMATS[0]),
        await revoke(server.address, SERVICE, token),
      ];
      for (const answer of answers) {
        expect([answer.status, answer.body.error]).toEqual([503, 'temporarily_unavailable']);
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      }
    } finally {
      outage.letItReturn();
    }
    await until('the token is active again', async () => {
      const { status, body } = await post(`${server.address}/introspect`, SERVICE, { token });
      return status === 200 && body.active === true;
    });
  });

  test('a server whose database is away ends in time when it is told to', async () => {
    const outage = killPostgres();
    try {
      await until('the node is not ready', async () => (await ready()).status === 503);
      server.signal('SIGTERM');
      await Promise.race([server.ended, delay(30_000, undefined, { ref: false })]);
      expect(server.hasEnded()).toBe(true);
    } finally {
      outage.letItReturn();
    }
  });
});
