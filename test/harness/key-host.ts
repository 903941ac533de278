import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Somebody's server on this machine that counts who calls. */
export type KeyHost = {
  url: string;
  port: number;
  /** Connections, whether or not anything was asked on them. */
  connections(): number;
  requests(): number;
  close(): Promise<void>;
};

export async function startKeyHost(answer: RequestListener): Promise<KeyHost> {
  const counts = { connections: 0, requests: 0 };
  const server = createServer((request, response) => {
    counts.requests += 1;
    answer(request, response);
  });
  server.on('connection', () => {
    counts.connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    connections: () => counts.connections,
    requests: () => counts.requests,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers with what stands in a JSON document now. */
export function serveJson(document: () => unknown): RequestListener {
  return (_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(document()));
  };
}
