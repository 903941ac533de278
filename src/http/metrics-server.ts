import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { types } from 'node:util';
import type { Registry } from 'prom-client';
import { AppError } from '../errors.ts';

export type MetricsServer = Readonly<{
  /** @returns the port that it listens on, where 0 was asked for @throws {AppError} `configuration` where it can't listen */
  listen(): Promise<{ port: number }>;
  close(): Promise<void>;
}>;

/** A scrape takes milliseconds; what takes longer is not a scrape. */
const REQUEST_TIMEOUT_MS = 10_000;

/** Serves `GET /metrics` and nothing else, on a port of its own, which must not be reachable from the outside. */
export function createMetricsServer(options: {
  host: string;
  port: number;
  registry: Pick<Registry, 'metrics' | 'contentType'>;
}): MetricsServer {
  const { registry } = options;

  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    const [path] = (request.url ?? '').split('?', 1);
    if (path !== '/metrics') return answer(response, 404, 'not found\n');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return answer(response, 405, 'method not allowed\n');
    }
    registry.metrics().then(
      (text) => answer(response, 200, text, registry.contentType),
      () => answer(response, 500, 'the metrics could not be gathered\n'),
    );
  });

  return Object.freeze({
    async listen() {
      server.listen({ host: options.host, port: options.port });
      await once(server, 'listening').catch((cause: unknown) => {
        throw unusable(options, cause);
      });
      return { port: (server.address() as AddressInfo).port };
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  });
}

function unusable({ host, port }: { host: string; port: number }, cause: unknown): AppError {
  const code = types.isNativeError(cause) && 'code' in cause ? cause.code : undefined;
  const message =
    code === 'EADDRINUSE' || code === 'EACCES'
      ? `METRICS_PORT wants a free port that this user may open: ${port} ${code === 'EACCES' ? 'is not' : 'is taken'}`
      : `METRICS_HOST wants an address of this machine: ${host}`;
  return new AppError({ code: 'configuration', message, cause });
}

function answer(response: ServerResponse, status: number, text: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(text);
}
