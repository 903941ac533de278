import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createAuthority } from '../../harness/certificates.ts';
import { createCertifiedClient } from '../../harness/certified-client.ts';
import { startTlsServer, type TlsServer } from '../../harness/tls-server.ts';

const clientCa = createAuthority('Client Authority');
let server: TlsServer;
beforeAll(async () => {
  server = await startTlsServer({ clientCa });
});
afterAll(() => server.close());

async function handshake(url: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: hostname,
      port: Number(port),
      servername: 'localhost',
      ca: server.ca,
      ...options,
    });
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });
}

test.each(['TLSv1.2', 'TLSv1.3'] as const)('a browser is never asked for a certificate (%s)', async (version) => {
  const versions = { minVersion: version, maxVersion: version };
  const asked: Record<string, boolean> = {};
  for (const url of [server.issuer, server.mtlsUrl]) {
    const socket = await handshake(url, versions);
    // What a certificate may be signed with is told in the request for one, and nowhere else.
    asked[url] = socket.getSharedSigalgs().length > 0;
    socket.destroy();
  }
  expect(asked).toEqual({ [server.issuer]: false, [server.mtlsUrl]: true });
});

test.each(['TLSv1', 'TLSv1.1'] as const)('%s is refused', async (version) => {
  const old = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT:@SECLEVEL=0' };
  await expect(handshake(server.issuer, old)).rejects.toThrow();
  await expect(handshake(server.mtlsUrl, old)).rejects.toThrow();
});

test.each(['AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-SHA'])('%s is refused', async (ciphers) => {
  await expect(handshake(server.issuer, { maxVersion: 'TLSv1.2', ciphers })).rejects.toThrow();
});

test.each(['TLSv1.2', 'TLSv1.3'] as const)('a session with a certificate is never resumed (%s)', async (version) => {
  const { certificate, id } = await createCertifiedClient(server.domains, clientCa);
  const versions = { minVersion: version, maxVersion: version };
  const own = { ...versions, cert: certificate.cert, key: certificate.key };
  const sessions: Buffer[] = [];
  const first = await handshake(server.mtlsUrl, own);
  // Of TLS 1.2 it is there now, of 1.3 it would come with the answer.
  const early = first.getSession();
  first.on('session', (session) => sessions.push(session));
  first.write('GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
  await new Promise((resolve) => first.once('close', resolve).resume());
  const session = sessions.at(-1) ?? early;
  const again = await handshake(server.mtlsUrl, { ...versions, ...(session && { session }) });
  const body = `grant_type=client_credentials&client_id=${id}`;
  again.write(
    `POST /token HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  const answer = await new Promise((resolve) => again.once('data', (data) => resolve(String(data))));
  expect({ isReused: again.isSessionReused(), answer }).toEqual({
    isReused: false,
    answer: expect.stringMatching(/^HTTP\/1.1 401 /),
  });
});
