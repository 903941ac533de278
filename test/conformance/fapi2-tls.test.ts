/** What the plans for FAPI 2.0 Security Profile look at, of TLS (section 5.2). */
import { type ConnectionOptions, connect } from 'node:tls';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTlsServer, type TlsServer } from '../harness/tls-server.ts';

let server: TlsServer;
beforeAll(async () => {
  server = await startTlsServer();
});
afterAll(() => server.close());

/** @returns what was agreed on; undefined where nothing was */
async function agreed(options: ConnectionOptions): Promise<{ version: string | null; cipher: string } | undefined> {
  const port = Number(new URL(server.issuer).port);
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca: server.ca, ...options }, () => {
      resolve({ version: socket.getProtocol(), cipher: socket.getCipher().name });
      socket.destroy();
    });
    socket.once('error', () => resolve(undefined));
  });
}

test('TLS 1.3 is what a client gets that can do both', async () => {
  expect(await agreed({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' })).toMatchObject({ version: 'TLSv1.3' });
});

test.each(['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384'])(
  'TLS 1.2 with %s is taken',
  async (ciphers) => {
    expect(await agreed({ maxVersion: 'TLSv1.2', ciphers })).toEqual({ version: 'TLSv1.2', cipher: ciphers });
  },
);

test.each([
  ['without forward secrecy', 'AES128-GCM-SHA256'],
  ['of finite fields', 'DHE-RSA-AES128-GCM-SHA256'],
  ['by CBC', 'ECDHE-ECDSA-AES128-SHA256'],
  ['by CBC and SHA-1', 'ECDHE-ECDSA-AES128-SHA'],
  ['by CCM', 'ECDHE-ECDSA-AES128-CCM'],
  ['by ChaCha20', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
])('TLS 1.2 %s is refused (%s)', async (_title, ciphers) => {
  expect(await agreed({ maxVersion: 'TLSv1.2', ciphers })).toBeUndefined();
});
