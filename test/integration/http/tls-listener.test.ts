import type { RequestListener } from 'node:http';
import { Agent, get } from 'node:https';
import { connect as connectPlainly } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  type ConnectionOptions,
  connect,
  getCACertificates,
  TLSSocket as ServerSocket,
  setDefaultCACertificates,
  type TLSSocket,
} from 'node:tls';
import { afterEach, describe, expect, test } from '@jest/globals';
import { createClientCertificates, createListener, type Listener, tlsOptions } from '../../../src/http/index.ts';
import {
  createAuthority,
  createCertificate,
  createServerCertificate,
  type TestCertificate,
} from '../../harness/certificates.ts';

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

test('a connection is never negotiated anew', async () => {
  const { handshake } = await listen(HELLO);
  const socket = await handshake({ maxVersion: 'TLSv1.2' });
  const outcome = await new Promise((resolve) => {
    socket.once('error', resolve);
    socket.renegotiate({}, (error) => resolve(error));
  });
  expect(String(outcome)).toMatch(/^Error: .*no renegotiation/i);
});

describe('a port that asks for certificates', () => {
  const server = createServerCertificate({ issuer: authority });
  const asking = (clientCa?: TestCertificate) =>
    tlsOptions(
      { ...materialOf(server), clientCa: clientCa && Buffer.from(clientCa.cert) },
      { asksForCertificate: true },
    );
  const IS_KNOWN: RequestListener = ({ socket }, response) =>
    response.end(`known: ${socket instanceof ServerSocket && socket.authorized}`);

  /** Whether the authority of a certificate is known, as the server sees it. */
  async function isKnown(handshake: (options: ConnectionOptions) => Promise<TLSSocket>, issuer: TestCertificate) {
    const { cert, key } = createCertificate({ issuer });
    const socket = await handshake({ cert, key });
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    return (await text(socket)).includes('known: true');
  }

  test('believes other authorities after a renewal, and still asks', async () => {
    const [before, after] = [createAuthority('before'), createAuthority('after')];
    const { listener, handshake } = await listen(IS_KNOWN, asking(before));
    expect(await isKnown(handshake, before)).toBe(true);
    expect(await isKnown(handshake, after)).toBe(false);
    listener.renew(asking(after));
    expect(await isKnown(handshake, before)).toBe(false);
    expect(await isKnown(handshake, after)).toBe(true);
  });

  test('believes no authority of the web where none was named', async () => {
    const ofTheWeb = createAuthority('web');
    const usual = getCACertificates();
    setDefaultCACertificates([...usual, ofTheWeb.cert]);
    try {
      const { handshake } = await listen(IS_KNOWN, asking());
      expect(await isKnown(handshake, ofTheWeb)).toBe(false);
    } finally {
      setDefaultCACertificates(usual);
    }
  });
});

describe('when the authorities of clients change', () => {
  const server = createServerCertificate({ issuer: authority });
  const tlsWith = (clientCa: TestCertificate, shown = server) =>
    tlsOptions({ ...materialOf(shown), clientCa: Buffer.from(clientCa.cert) }, { asksForCertificate: true });
  const [before, after] = [createAuthority('before'), createAuthority('after')];
  const certificate = createCertificate({ issuer: before });
  const source = { kind: 'port', port: 0, caFile: '' } as const;
  const { of } = createClientCertificates(
    { mtls: { baseUrl: '', verifiesChains: true, source }, trustedProxies: [] },
    { clock: Date.now },
  );
  const request = (path: string) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
  const firstAnswer = (socket: TLSSocket) => new Promise((resolve) => socket.once('data', resolve));

  async function listenWith() {
    const verdicts: Record<string, boolean | undefined> = {};
    const begun = Promise.withResolvers<void>();
    const mayEnd = Promise.withResolvers<void>();
    const listening = await listen(async (request, response) => {
      if (request.url === '/slow') {
        begun.resolve();
        await mayEnd.promise;
      }
      verdicts[request.url ?? ''] = of(request)?.isVerified;
      response.end('an answer');
    }, tlsWith(before));
    const { cert, key } = certificate;
    return {
      ...listening,
      verdicts,
      begun: begun.promise,
      mayEnd: mayEnd.resolve,
      certified: (options: ConnectionOptions = {}) => listening.handshake({ cert, key, ...options }),
    };
  }

  test('idle connections from before are closed', async () => {
    const { listener, certified, verdicts } = await listenWith();
    const idle = await certified();
    idle.write(request('/before'));
    await firstAnswer(idle);
    const end = closed(idle);
    listener.renew(tlsWith(after));
    await end;
    const anew = await certified();
    anew.write(request('/anew'));
    await firstAnswer(anew);
    expect(verdicts).toEqual({ '/before': true, '/anew': false });
    // Going back is a change as well.
    const endAnew = closed(anew);
    listener.renew(tlsWith(before));
    await endAnew;
  });

  test('a request in hand is answered, and what follows it on the connection is not verified', async () => {
    const { listener, certified, verdicts, begun, mayEnd } = await listenWith();
    const socket = await certified();
    socket.write(request('/slow'));
    await begun;
    listener.renew(tlsWith(after));
    socket.write(request('/pipelined'));
    const answers = text(socket);
    mayEnd();
    expect(await answers).toMatch(/^HTTP\/1.1 200 OK\r\n.*connection: close\r\n.*an answer/is);
    // Whether the second is looked at is for chance to say.
    expect(Object.values(verdicts)).not.toContain(true);
    expect(verdicts['/slow']).toBe(false);
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a connection that was opened before is not verified, whenever it says hello (%s)',
    async (version) => {
      const { listener, certified, verdicts, port } = await listenWith();
      const withHello = await certified();
      const early = connectPlainly(port, '127.0.0.1');
      await new Promise((resolve) => early.once('connect', resolve));
      // The server has taken it when it has taken one that came later.
      await certified().then((socket) => socket.destroy());
      listener.renew(tlsWith(after));
      const versions = { minVersion: version, maxVersion: version };
      const withoutHello = await certified({ socket: early, ...versions });
      withHello.write(request('/with-hello'));
      withoutHello.write(request('/without-hello'));
      expect(await Promise.all([withHello, withoutHello].map((socket) => text(socket)))).toEqual([
        expect.stringMatching(/connection: close\r\n/i),
        expect.stringMatching(/connection: close\r\n/i),
      ]);
      expect(verdicts).toEqual({ '/with-hello': false, '/without-hello': false });
    },
  );

  test('connections go on, verified, where the server’s certificate alone was renewed', async () => {
    const { listener, certified, verdicts } = await listenWith();
    const kept = await certified();
    kept.write(request('/before'));
    await firstAnswer(kept);
    listener.renew(tlsWith(before, createServerCertificate({ issuer: authority })));
    kept.write(request('/after'));
    await firstAnswer(kept);
    expect(verdicts).toEqual({ '/before': true, '/after': true });
    // A later change is still one.
    const end = closed(kept);
    listener.renew(tlsWith(after));
    await end;
  });
});

describe('draining', () => {
  test('lets a request in hand end, though its connection stands by another socket than was opened', async () => {
    const begun = Promise.withResolvers<void>();
    const mayEnd = Promise.withResolvers<void>();
    const { listener, ask, handshake } = await listen(async (_request, response) => {
      begun.resolve();
      await mayEnd.promise;
      response.end('in the end');
    });
    const answer = ask();
    await begun.promise;
    const silent = await handshake();
    const drained = listener.drain(30);
    // Connections without a request are waited for no longer.
    await closed(silent);
    mayEnd.resolve();
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
