import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import Koa from 'koa';
import { openDatabase } from '../../../src/database/index.ts';
import { createHealth, type HealthCheck } from '../../../src/http/health.ts';
import { healthChecks } from '../../../src/http/health-checks.ts';
import { recordingLogger, silentLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function start(checks: HealthCheck[], limits: { checkLimitMs?: number } = {}) {
  const state = { now: 1_000_000, isShuttingDown: false };
  const { logger, lines } = recordingLogger();
  const app = new Koa();
  app.use(
    createHealth({ checks, isShuttingDown: () => state.isShuttingDown, clock: () => state.now, logger, ...limits }),
  );
  const server = createServer(app.callback());
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  async function ask(path: string, method = 'GET') {
    const answer = await fetch(url + path, { method, headers: { connection: 'close' } });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: text.startsWith('{') ? JSON.parse(text) : text };
  }
  return { state, lines, ask, ready: () => ask('/health/ready') };
}

function database(overrides: Partial<HealthCheck> = {}): HealthCheck & { asked: number; isUp: boolean } {
  const check = {
    name: 'database',
    reason: 'the database cannot be reached',
    asked: 0,
    isUp: true,
    async check() {
      check.asked++;
      if (!check.isUp) throw new Error('connect ECONNREFUSED postgres://tessera:SECRET@db:5432/tessera');
      return true;
    },
    ...overrides,
  };
  return check;
}

describe('health', () => {
  test('a node whose checks all pass is ready, and no answer may be stored', async () => {
    const { ask, ready } = await start([database()]);
    const answer = await ready();
    expect(answer).toMatchObject({ status: 200, body: { status: 'ready', checks: { database: 'ok' } } });
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect((await ask('/health/live')).headers.get('cache-control')).toBe('no-store');
  });

  test('a failed check is 503 with its reason and not a word of the error', async () => {
    const check = database();
    check.isUp = false;
    const { ask, ready, lines } = await start([check]);
    const answer = await ready();
    expect(answer.status).toBe(503);
    expect(answer.body).toEqual({
      status: 'not_ready',
      checks: { database: 'failed' },
      reasons: ['the database cannot be reached'],
    });
    expect(lines).toHaveLength(1);
    expect((await ask('/health/live')).status).toBe(200);
  });

  test('it is ready again by itself, and each change is logged once', async () => {
    const check = database();
    const { state, ready, lines } = await start([check]);
    await ready();
    for (const isUp of [false, false, true, true]) {
      check.isUp = isUp;
      state.now += 1_001;
      expect((await ready()).status).toBe(isUp ? 200 : 503);
    }
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      [40, 'a health check fails'],
      [30, 'a health check passes again'],
    ]);
  });

  test('however often readiness is asked for, the database is asked once in a second', async () => {
    const check = database();
    const { state, ready } = await start([check]);
    await Promise.all(Array.from({ length: 20 }, ready));
    expect(check.asked).toBe(1);
    state.now += 999;
    await ready();
    expect(check.asked).toBe(1);
    state.now += 1;
    await ready();
    expect(check.asked).toBe(2);
  });

  test('a good result may be believed for longer, a bad one never', async () => {
    const check = database({ believedForMs: 60_000 });
    const { state, ready } = await start([check]);
    await ready();
    state.now += 59_999;
    check.isUp = false;
    expect((await ready()).status).toBe(200);
    state.now += 1;
    expect((await ready()).status).toBe(503);
    state.now += 1_000;
    check.isUp = true;
    expect((await ready()).status).toBe(200);
  });

  test('a check that hangs fails within its limit and is not asked again meanwhile', async () => {
    let asked = 0;
    let answerLate = (_isGood: boolean) => {};
    const hanging = database({
      check() {
        asked++;
        return new Promise<boolean>((resolve) => {
          answerLate = resolve;
        });
      },
    });
    const { state, ready } = await start([hanging], { checkLimitMs: 20 });
    expect((await ready()).status).toBe(503);
    state.now += 1_001;
    expect((await ready()).status).toBe(503);
    expect(asked).toBe(1);
    answerLate(true);
    await until('it is ready', async () => (await ready()).status === 200);
  });

  test('a warning is told but leaves the node ready', async () => {
    const feed = { name: 'change_feed', reason: 'changes arrive late', check: () => false, isWarning: true };
    const { ready } = await start([database(), feed]);
    expect(await ready()).toMatchObject({
      status: 200,
      body: { status: 'ready', checks: { change_feed: 'warning' }, warnings: ['changes arrive late'] },
    });
  });

  test('a node that can’t take over what others have changed is ready, and names the topics', async () => {
    const failing: string[] = ['keys', 'apis'];
    const neverAsked = openDatabase({ url: 'postgres://127.0.0.1:1/none', poolSize: 2, logger: silentLogger });
    const changes = { isListening: () => true, failingTopics: () => [...failing] };
    const check = healthChecks({ database: neverAsked, changes }).find(({ name }) => name === 'taking_over');
    const { state, ready, lines } = await start(check === undefined ? [] : [check]);
    const warning = {
      status: 200,
      body: {
        status: 'ready',
        checks: { taking_over: 'warning' },
        warnings: [expect.stringContaining('can’t be taken over here (keys, apis)')],
      },
    };
    expect(await ready()).toMatchObject(warning);
    failing.length = 0;
    // Of the same moment.
    expect(await ready()).toMatchObject(warning);
    state.now += 1_001;
    expect((await ready()).body).toEqual({ status: 'ready', checks: { taking_over: 'ok' } });
    expect(lines.map(({ level }) => level)).toEqual([40, 30]);
    expect(lines[0]).toMatchObject({ reason: expect.stringContaining('(keys, apis)') });
    await neverAsked.close();
  });

  test('a node that is shutting down lives but is not ready, at once', async () => {
    const { state, ask, ready } = await start([database()]);
    await ready();
    state.isShuttingDown = true;
    expect(await ready()).toMatchObject({ status: 503, body: { reasons: ['the server is shutting down'] } });
    expect((await ask('/health/live')).status).toBe(200);
  });

  test('only GET and HEAD are answered, and only the two paths', async () => {
    const { ask } = await start([database()]);
    expect((await ask('/health/ready', 'HEAD')).status).toBe(200);
    expect((await ask('/health/live', 'POST')).status).toBe(405);
    for (const path of ['/health', '/health/', '/health/live/', '/health/other']) {
      expect((await ask(path)).status).toBe(404);
    }
  });
});
