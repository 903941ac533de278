import { connect, type PeerCertificate } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createAuthority,
  createCertificate,
  createServerCertificate,
  type TestCertificate,
} from '../harness/certificates.ts';
import { openTestDatabase, type TestDatabase } from '../harness/database.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import { freePort, noProcessLeft, type ServerProcess, startServerProcess } from '../harness/process.ts';
import { secureFetch } from '../harness/secure-fetch.ts';
import { createTlsFolder, type TlsFolder } from '../harness/tls-server.ts';
import { until } from '../harness/until.ts';

const clientCa = createAuthority('Client Authority');
let folder: ReturnType<typeof freshFolder>;
let tls: TlsFolder;
let database: TestDatabase;
const servers: ServerProcess[] = [];
beforeAll(async () => {
  folder = freshFolder();
  tls = createTlsFolder(clientCa);
  database = await openTestDatabase();
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.dispose();
  await noProcessLeft(folder.path);
});
afterAll(async () => {
  await database.close();
  tls.remove();
  folder.remove();
});

async function start(environment: Record<string, string> = {}): Promise<ServerProcess> {
  const server = await startServerProcess({
    dataDirectory: folder.path,
    environment: { DATABASE_URL: database.url, ...tls.environment, ...environment },
  });
  servers.push(server);
  return server;
}

async function started(environment: Record<string, string> = {}) {
  const mtlsPort = await freePort();
  const server = await start({ MTLS_PORT: String(mtlsPort), ...environment });
  await until('it listens', () => {
    if (server.hasEnded()) throw new Error(server.output());
    return server.output().includes('listening on port');
  });
  return { server, mtlsPort };
}

/** The certificate that a port shows on a new connection. */
async function shownOn(port: number): Promise<PeerCertificate> {
  const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca: tls.authority.cert });
  try {
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    return socket.getPeerCertificate();
  } finally {
    socket.destroy();
  }
}

const times = (server: ServerProcess, words: string) => server.output().split(words).length - 1;

const isShown = async (certificate: TestCertificate, ports: readonly number[]) =>
  // Several times, as any of the processes may answer.
  (await Promise.all([...ports, ...ports, ...ports, ...ports].map(shownOn))).every(({ raw }) =>
    raw.equals(certificate.der),
  );

test.each(['1', '2'])(
  'a renewed certificate is shown on both ports without a restart, by %s process(es)',
  async (workers) => {
    const { server, mtlsPort } = await started({ WORKERS: workers });
    const ports = [server.port, mtlsPort];
    const client = secureFetch({ ca: tls.authority.cert });
    const ask = () => client(`https://localhost:${server.port}/health/ready`);
    expect((await ask()).status).toBe(200);
    const renewed = createServerCertificate({ issuer: tls.authority });
    tls.write(renewed);
    await until('every process has taken it over', () => times(server, 'new TLS files are in use') === Number(workers));
    expect(await isShown(renewed, ports)).toBe(true);
    // The connection from before goes on.
    expect((await ask()).status).toBe(200);

    tls.write({ ...renewed, key: createServerCertificate().key });
    const isTold = () => times(server, 'those before stay in use') >= Number(workers);
    await until('the broken files are told of', isTold);
    expect(await isShown(renewed, ports)).toBe(true);
    tls.write(renewed);
    client.close();
    expect(await server.stop()).toEqual({ exitCode: 0, signal: null });
  },
);

describe('a start that is refused', () => {
  test.each<[string, () => { cert: string; key: string }, RegExp]>([
    [
      'has expired',
      () => createServerCertificate({ validUntil: new Date(Date.now() - 1_000) }),
      /^TLS_CERT_FILE wants a certificate that is valid: it expired at /,
    ],
    [
      'is another key’s',
      () => ({ ...createServerCertificate(), key: createCertificate().key }),
      /^TLS_KEY_FILE wants the private key of the first certificate/,
    ],
  ])('says in one line that its certificate %s', async (_what, make, line) => {
    const good = createServerCertificate({ issuer: tls.authority });
    for (const WORKERS of ['1', '2']) {
      tls.write(make());
      const server = await start({ MTLS_PORT: '0', MTLS_CA_FILE: '', WORKERS });
      expect((await server.ended).exitCode).toBe(1);
      expect(server.faults()).toEqual([expect.stringMatching(line)]);
    }
    tls.write(good);
  });

  test('names MTLS_PORT where that port is taken', async () => {
    const { mtlsPort } = await started();
    const server = await start({ MTLS_PORT: String(mtlsPort) });
    expect((await server.ended).exitCode).toBe(1);
    expect(server.faults()).toEqual([`MTLS_PORT wants a free port: ${mtlsPort} is taken`]);
  });
});
