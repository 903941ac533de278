import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { createAuthority, createServerCertificate } from './certificates.ts';

/** Somebody's https server on this machine, which this process believes. */
export type DocumentHost = {
  /** `https://localhost:PORT` */
  origin: string;
  host: string;
  /** Of its authority, in PEM, for other processes. */
  ca: string;
  /** Serves a document of JSON at a path from now on, with these headers beside. @returns its URL */
  serve(path: string, document: unknown, headers?: Record<string, string>): string;
  /** Serves whatever is wanted. */
  answer(path: string, listener: RequestListener): string;
  requests(path: string): number;
  close(): Promise<void>;
};

/** Where clients that nobody registered keep the documents that describe them. */
export async function startDocumentHost(): Promise<DocumentHost> {
  const authority = createAuthority('Document Authority');
  const { cert, key } = createServerCertificate({ issuer: authority });
  const listeners = new Map<string, RequestListener>();
  const counts = new Map<string, number>();
  const server = createServer({ cert, key }, (request, response) => {
    const path = request.url ?? '';
    counts.set(path, (counts.get(path) ?? 0) + 1);
    const listener = listeners.get(path);
    if (listener !== undefined) listener(request, response);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const before = getCACertificates('default');
  setDefaultCACertificates([...before, authority.cert]);
  const host = `localhost:${(server.address() as AddressInfo).port}`;
  const origin = `https://${host}`;
  function answer(path: string, listener: RequestListener): string {
    listeners.set(path, listener);
    return `${origin}${path}`;
  }
  return {
    origin,
    host,
    ca: authority.cert,
    answer,
    serve: (path, document, headers = {}) =>
      answer(path, (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(document));
      }),
    requests: (path) => counts.get(path) ?? 0,
    async close() {
      setDefaultCACertificates(before);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
