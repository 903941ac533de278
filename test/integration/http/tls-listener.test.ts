import type { RequestListener } from 'node:http';
import { Agent, get } from 'node:https';
import { connect as connectPlainly } from 'node:net';
import { text } from 'node:stream/consumers';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from '@jest/globals';
import { createListener, type Listener, tlsOptions } from '../../../src/http/index.ts';
import { createAuthority, createServerCertificate, type TestCertificate } from '../../harness/certificates.ts';

const authority = createAuthority();
const materialOf = ({ cert, key }: TestCertificate) => ({
  cert: Buffer.from(cert),
  key: Buffer.from(key),
  clientCa: undefined,
  subject: '',
  validUntil: new Date(),
});
const tlsOf = (certificate: TestCertificate) => tlsOptions(materialOf(certificate), { asksForCertificate: false });
const hosts = ['127.0.0.1'];
const HELLO: RequestListener = (_request, response) => response.end('hello');

const open: { listener: Listener; sockets: TLSSocket[]; agent: Agent }[] = [];
afterEach(async () => {
  for (const { listener, sockets, agent } of open.splice(0)) {
    for (const socket of sockets) socket.destroy();
    agent.destroy();
    await listener.drain(0);
  }
});

async function listen(handler: RequestListener, tls = tlsOf(createServerCertificate({ issuer: authority }))) {
  const listener = createListener(handler, { hosts, port: 0, tls });
  const { port } = await listener.listen();
  const sockets: TLSSocket[] = [];
  const agent = new Agent({ keepAlive: true, ca: authority.cert });
  open.push({ listener, sockets, agent });
  return {
    listener,
    port,
    async handshake(options: ConnectionOptions = {}): Promise<TLSSocket> {
      const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca: authority.cert, ...options });
      sockets.push(socket);
      await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
      return socket;
    },
    ask: () =>
      new Promise<string>((resolve, reject) => {
        get({ host: '127.0.0.1', servername: 'localhost', port, agent }, (answer) => {
          text(answer).then(resolve, reject);
        }).once('error', reject);
      }),
  };
}

const closed = (socket: TLSSocket) => new Promise<void>((resolve) => socket.once('close', () => resolve()).resume());

describe('a port that speaks TLS', () => {
  test('speaks nothing else', async () => {
    const { port } = await listen(HELLO);
    const socket = connectPlainly(port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n');
    const received = await text(socket).catch(() => '');
    expect(received).not.toContain('HTTP');
  });

  test('closes where it was asked to close after the answer', async () => {
    const { handshake } = await listen(HELLO);
    const socket = await handshake();
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    expect(await text(socket)).toMatch(/connection: close\r\n/i);
  });

  test('shows a renewed certificate on new connections, and keeps those that are open', async () => {
    const [before, after] = [1, 2].map(() => createServerCertificate({ issuer: authority }));
    if (before === undefined || after === undefined) throw new Error('there are two');
    const { listener, handshake } = await listen(HELLO, tlsOf(before));
    const kept = await handshake();
    expect(kept.getPeerCertificate().raw.equals(before.der)).toBe(true);
    listener.renew(tlsOf(after));
    const renewed = await handshake();
    expect(renewed.getPeerCertificate().raw.equals(after.der)).toBe(true);
    kept.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    expect(await text(kept)).toContain('hello');
  });

  test('offers what it offered before after a renewal, and nothing weaker', async () => {
    const { listener, handshake } = await listen(HELLO);
    listener.renew(tlsOf(createServerCertificate({ issuer: authority })));
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const;
    await expect(handshake(old)).rejects.toThrow();
    await expect(handshake({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' })).rejects.toThrow();
    expect((await handshake()).getProtocol()).toBe('TLSv1.3');
  });
});

describe('draining', () => {
  test('lets a request in hand end, though its connection stands by another socket than was opened', async () => {
    const begun = Promise.withResolvers<void>();
    const mayEnd = Promise.withResolvers<void>();
    const { listener, ask } = await listen(async (_request, response) => {
      begun.resolve();
      await mayEnd.promise;
      response.end('in the end');
    });
    const answer = ask();
    await begun.promise;
    const drained = listener.drain(30);
    // Longer than connections without a request are waited for.
    setTimeout(mayEnd.resolve, 800);
    expect(await answer).toBe('in the end');
    await drained;
  });

  test('closes connections without a request, said hello or not, long before its limit', async () => {
    const { listener, handshake, ask, port } = await listen(HELLO);
    await ask();
    const idle = await handshake();
    const silent = connectPlainly(port, '127.0.0.1');
    await new Promise((resolve) => silent.once('connect', resolve));
    // The server has taken it when it has taken one that came later.
    await handshake().then((socket) => socket.destroy());
    const idleEnd = closed(idle);
    const silentEnd = new Promise<void>((resolve) => silent.once('close', () => resolve()).resume());
    await listener.drain(60);
    await Promise.all([idleEnd, silentEnd]);
  });
});
