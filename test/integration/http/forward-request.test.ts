import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from '@jest/globals';
import Koa from 'koa';
import { forwardRequest } from '../../../src/http/forward-request.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

async function listen(handler: RequestListener): Promise<number> {
  const server = createServer(handler).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Forwards to `port`; in front of it stands what every answer gets. */
function front(port: number): Promise<number> {
  const app = new Koa();
  app.silent = true;
  app.use((context) => {
    context.set('X-Request-Id', 'of the front');
    return forwardRequest(context, port);
  });
  return listen(app.callback());
}

describe('a request that is forwarded', () => {
  test('arrives as it was sent, and its answer comes back as it was given', async () => {
    const heard: unknown[] = [];
    const behind = await listen(async (request, response) => {
      const { method, url, headers } = request;
      heard.push({ method, url, cookie: headers.cookie, type: headers['content-type'], body: await text(request) });
      response.writeHead(
        303,
        [
          ['Location', '/elsewhere'],
          ['Set-Cookie', 'a=1; Path=/'],
          ['Set-Cookie', 'b=2; Path=/'],
          ['Content-Type', 'text/html; charset=utf-8'],
          ['X-Request-Id', 'of the one behind'],
        ].flat(),
      );
      response.end('<p>there</p>');
    });
    const answer = await fetch(`http://127.0.0.1:${await front(behind)}/path?query=a%20b`, {
      method: 'POST',
      headers: { cookie: 'c=3' },
      body: new URLSearchParams({ name: 'value' }),
      redirect: 'manual',
    });
    expect(heard).toEqual([
      {
        method: 'POST',
        url: '/path?query=a%20b',
        cookie: 'c=3',
        type: 'application/x-www-form-urlencoded;charset=UTF-8',
        body: 'name=value',
      },
    ]);
    expect(answer.status).toBe(303);
    expect(answer.headers.get('location')).toBe('/elsewhere');
    expect(answer.headers.getSetCookie()).toEqual(['a=1; Path=/', 'b=2; Path=/']);
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    // By this the request is found in the log of who was asked.
    expect(answer.headers.get('x-request-id')).toBe('of the front');
    expect(await answer.text()).toBe('<p>there</p>');
  });

  test('is 503 where nobody answers', async () => {
    const gone = await listen(() => undefined);
    const [server] = servers.splice(0);
    server?.close();
    const answer = await fetch(`http://127.0.0.1:${await front(gone)}/`);
    expect(answer.status).toBe(503);
  });
});
