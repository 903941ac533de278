import { once } from 'node:events';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import Koa, { type Middleware } from 'koa';
import { observeRequests } from '../../../src/http/observe-requests.ts';
import { createRequestLog } from '../../../src/http/request-log.ts';
import { createRequestMetrics } from '../../../src/http/request-metrics.ts';
import { createMetrics, outcomeOf } from '../../../src/telemetry/index.ts';
import { recordingLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function start(handler: Middleware, options: { isTrustedProxy?: (address: string) => boolean } = {}) {
  const { logger, lines, text } = recordingLogger();
  const metrics = createMetrics({ version: '0' });
  let time = 0;
  const now = () => {
    time += 5;
    return time;
  };
  const app = new Koa();
  app.silent = true;
  const observers = [createRequestLog({ logger }), createRequestMetrics({ metrics })];
  app.use(observeRequests({ observers, now, ...options }));
  app.use(handler);
  const server = createServer(app.callback());
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, lines, text, registry: metrics.registry, seen: () => until('a request is logged', () => lines[0]) };
}

describe('the request log', () => {
  test('a request is one line: id, path, endpoint, client, outcome, duration, address', async () => {
    const { url, lines, seen } = await start((context) => {
      Object.assign(outcomeOf(context.req), { clientId: 'shop', grantType: 'refresh_token', error: 'invalid_grant' });
      context.status = 400;
      context.body = { error: 'invalid_grant' };
    });
    const answer = await fetch(`${url}/token`, { method: 'POST' });
    const line = await seen();
    expect(line).toMatchObject({
      level: 30,
      method: 'POST',
      path: '/token',
      endpoint: 'token',
      clientId: 'shop',
      grantType: 'refresh_token',
      status: 400,
      error: 'invalid_grant',
      address: '127.0.0.1',
    });
    expect(line.durationMs).toBeGreaterThan(0);
    expect(answer.headers.get('x-request-id')).toBe(line.requestId);
    expect(line.requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(lines).toHaveLength(1);
  });

  test('nothing secret is in the line: no query, header, cookie, body or handle', async () => {
    const { url, text, seen } = await start((context) => {
      outcomeOf(context.req).grantType = 'SECRET-parameter';
      context.set('Set-Cookie', 'session=SECRET-answer-cookie');
      context.body = { access_token: 'SECRET-answer-body' };
    });
    await fetch(`${url}/interaction/SECRET-handle/login?code=SECRET-query`, {
      method: 'POST',
      headers: {
        authorization: 'Bearer SECRET-header',
        cookie: 'session=SECRET-cookie',
        'user-agent': 'SECRET-agent',
        referer: 'http://x/?SECRET-referer',
        'x-forwarded-for': 'SECRET-forwarded',
      },
      body: 'password=SECRET-body',
    });
    await seen();
    expect(text()).toContain('"/interaction/:uid/login"');
    expect(text()).not.toContain('SECRET');
  });

  test('a fault is an error with its cause, a refusal is not', async () => {
    const { url, lines } = await start((context) => {
      outcomeOf(context.req).fault = new Error('the disk is full');
      context.status = context.path === '/fault' ? 500 : 403;
    });
    await fetch(`${url}/fault`);
    await fetch(`${url}/refusal`);
    await until('two requests are logged', () => lines[1]);
    expect(lines[0]).toMatchObject({ level: 50, status: 500, err: { message: 'the disk is full' } });
    expect(lines[1]).toMatchObject({ level: 30, status: 403 });
    expect(lines[1]).not.toHaveProperty('err');
  });

  test('health checks are of interest only when debugging, even when they fail', async () => {
    const { url, seen } = await start((context) => {
      context.status = 503;
    });
    await fetch(`${url}/health/ready`);
    expect(await seen()).toMatchObject({ level: 20, endpoint: 'health', status: 503 });
  });

  test('a peer that left before the answer is said to have left, and has no status', async () => {
    const { url, lines, registry, seen } = await start(async (context) => {
      gone.destroy();
      await once(context.res, 'close');
    });
    const gone = httpRequest(`${url}/token`, { method: 'POST' });
    gone.on('error', () => undefined);
    gone.end();
    expect(await seen()).toMatchObject({ isAborted: true });
    expect(lines[0]).not.toHaveProperty('status');
    expect(await registry.metrics()).toContain(
      'tessera_http_requests_total{endpoint="token",method="POST",status="aborted"} 1',
    );
  });

  describe('the id of a request', () => {
    const echo: Middleware = (context) => {
      context.body = outcomeOf(context.req).requestId;
    };
    const given = { 'x-request-id': 'edge-42.a_B' };

    test('a trusted proxy may give it', async () => {
      const { url, seen } = await start(echo, { isTrustedProxy: (address) => address === '127.0.0.1' });
      const answer = await fetch(url, { headers: given });
      expect(await answer.text()).toBe('edge-42.a_B');
      expect(answer.headers.get('x-request-id')).toBe('edge-42.a_B');
      expect(await seen()).toMatchObject({ requestId: 'edge-42.a_B' });
    });

    test('nobody else may', async () => {
      const { url } = await start(echo);
      const answer = await fetch(url, { headers: given });
      expect(await answer.text()).toMatch(/^[0-9a-f-]{36}$/);
    });

    test.each(['a'.repeat(65), 'a b', 'a"b', '<b>', 'a;b', ''])('%j is replaced', async (id) => {
      const { url } = await start(echo, { isTrustedProxy: () => true });
      const answer = await fetch(url, { headers: { 'x-request-id': id } });
      expect(await answer.text()).toMatch(/^[0-9a-f-]{36}$/);
    });
  });
});

describe('the request metrics', () => {
  test('a token request is counted with its grant type and outcome, a preflight is not', async () => {
    const { url, lines, registry } = await start((context) => {
      outcomeOf(context.req).grantType = 'client_credentials';
      context.status = 204;
    });
    await fetch(`${url}/token`, { method: 'POST' });
    await fetch(`${url}/token`, { method: 'OPTIONS' });
    await fetch(`${url}/${'x'.repeat(30)}`);
    await until('three requests are logged', () => lines[2]);
    const text = await registry.metrics();
    expect(text).toContain('tessera_token_requests_total{grant_type="client_credentials",outcome="ok"} 1');
    expect(text).toContain('tessera_http_requests_total{endpoint="token",method="OPTIONS",status="204"} 1');
    expect(text).toContain('tessera_http_requests_total{endpoint="other",method="GET",status="204"} 1');
  });
});
