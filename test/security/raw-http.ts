import { request } from 'node:http';

export type RawAnswer = {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
};

export type RawRequest = {
  method?: string;
  /** Sent as it is: nothing is normalised, unlike by `fetch`. */
  path: string;
  /** An array sends the header once for each of its values. */
  headers?: Record<string, string | string[]>;
  body?: string | Buffer | undefined;
  isChunked?: boolean;
};

/** A request as no browser and no library would send it. @throws where the connection breaks before the answer is whole */
export function rawRequest(address: string, input: RawRequest): Promise<RawAnswer> {
  const { method = 'GET', path, headers = {}, body, isChunked = false } = input;
  const { hostname, port } = new URL(address);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, method, path, agent: false, setDefaultHeaders: true }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString(),
        }),
      );
    });
    sent.on('error', reject);
    for (const [name, value] of Object.entries(headers)) sent.setHeader(name, value);
    if (body !== undefined && !isChunked) sent.setHeader('content-length', Buffer.byteLength(body));
    sent.end(body);
  });
}

/** A form of any bytes: values are percent-encoded unless they are given raw. */
export function formBody(parameters: readonly (readonly [string, string])[]): string {
  return parameters.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&');
}

export const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

export function basic(client: { id: string; secret: string }): string {
  const credentials = `${encodeURIComponent(client.id)}:${encodeURIComponent(client.secret)}`;
  return `Basic ${Buffer.from(credentials).toString('base64')}`;
}
