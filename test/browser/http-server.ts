import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Reply = {
  status?: number;
  headers?: Record<string, string>;
  /** An object is sent as JSON, a text as HTML. */
  body?: string | Record<string, unknown>;
};

export type HttpServer = { origin: string; close(): Promise<void> };

/** A program of somebody else, on a site of its own: browsers take `127.0.0.1` and `localhost` for two. */
export async function startHttpServer(
  answer: (url: URL, request: IncomingMessage) => Reply | Promise<Reply>,
): Promise<HttpServer> {
  let origin = '';
  const server = createServer((request, response) => {
    Promise.resolve(answer(new URL(request.url ?? '/', origin), request))
      .catch((error: unknown): Reply => ({ status: 500, body: `<pre>${String(error)}</pre>` }))
      .then((reply) => send(response, reply));
  });
  // A test that failed before it closed this must not hold up the run.
  server.unref();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function send(response: ServerResponse, { status = 200, headers = {}, body = '' }: Reply): void {
  const isHtml = typeof body === 'string';
  response.writeHead(status, { 'content-type': isHtml ? 'text/html; charset=utf-8' : 'application/json', ...headers });
  response.end(isHtml ? body : JSON.stringify(body));
}
