import { Agent, request } from 'node:https';
import { buffer } from 'node:stream/consumers';

/** Whom a client believes, and who it is. PEM. */
export type SecureClient = { ca: string; certificate?: { cert: string; key: string } | undefined };

export type SecureFetch = ((url: string | URL, init?: SecureRequest) => Promise<Response>) & { close(): void };
type SecureRequest = { method?: string; headers?: ConstructorParameters<typeof Headers>[0]; body?: unknown };

/** `fetch` over TLS with a client certificate, which the built-in one can't be given. Connections are kept until `close`. */
export function secureFetch({ ca, certificate }: SecureClient): SecureFetch {
  const agent = new Agent({ keepAlive: true, ca, ...certificate });
  const fetched = async (url: string | URL, init: SecureRequest = {}): Promise<Response> => {
    const body = bodyOf(init.body);
    const headers = new Headers(init.headers);
    if (init.body instanceof URLSearchParams) headers.set('content-type', 'application/x-www-form-urlencoded');
    if (body !== undefined) headers.set('content-length', String(Buffer.byteLength(body)));
    return new Promise((resolve, reject) => {
      const sent = request(url, { agent, method: init.method ?? 'GET', headers: Object.fromEntries(headers) });
      sent.once('error', reject);
      sent.once('response', (answer) => {
        buffer(answer).then((content) => {
          const received = new Headers();
          for (const [name, values] of Object.entries(answer.headersDistinct)) {
            for (const value of values ?? []) received.append(name, value);
          }
          const status = answer.statusCode ?? 0;
          resolve(new Response(status === 204 || status === 304 ? null : content, { status, headers: received }));
        }, reject);
      });
      sent.end(body);
    });
  };
  return Object.assign(fetched, { close: () => agent.destroy() });
}

function bodyOf(body: unknown): string | undefined {
  if (body === undefined || body === null) return undefined;
  if (typeof body === 'string' || body instanceof URLSearchParams) return String(body);
  throw new TypeError('wants a body of text');
}
