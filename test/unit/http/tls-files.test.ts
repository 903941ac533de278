import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readTlsFiles, type TlsFiles } from '../../../src/http/tls-files.ts';
import { watchTlsFiles } from '../../../src/http/tls-watch.ts';
import {
  createAuthority,
  createCertificate,
  createServerCertificate,
  type TestCertificate,
} from '../../harness/certificates.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { recordingLogger, silentLogger } from '../../harness/loggers.ts';

const HOUR_MS = 3_600_000;
let folder: ReturnType<typeof freshFolder>;
beforeAll(() => {
  folder = freshFolder('tls');
});
afterAll(() => folder.remove());

let count = 0;
function write(content: string): string {
  count += 1;
  const path = join(folder.path, `${count}.pem`);
  writeFileSync(path, content);
  return path;
}
const filesOf = ({ cert, key }: Pick<TestCertificate, 'cert' | 'key'>): TlsFiles => ({
  certFile: write(cert),
  keyFile: write(key),
});
const good = createServerCertificate();

describe('the files of the server', () => {
  test('are a certificate with its chain, the key of the first, and the authorities of clients', async () => {
    const authority = createAuthority();
    const leaf = createServerCertificate({ issuer: authority });
    const files = { ...filesOf({ ...leaf, cert: leaf.cert + authority.cert }), clientCaFile: write(authority.cert) };
    const read = await readTlsFiles(files, Date.now());
    expect(read.cert.toString()).toBe(leaf.cert + authority.cert);
    expect(read.clientCa?.toString()).toBe(authority.cert);
    expect(read.validUntil.getTime()).toBeGreaterThan(Date.now());
  });

  test('hold an authority of clients together with its root', async () => {
    const root = createAuthority();
    const below = createCertificate({ issuer: root, isAuthority: true });
    const read = await readTlsFiles({ ...filesOf(good), clientCaFile: write(below.cert + root.cert) }, Date.now());
    expect(read.clientCa?.toString()).toBe(below.cert + root.cert);
  });

  const missing = '/nowhere/at.pem';
  const encrypted = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hunter2' },
  }).privateKey;
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
  test.each<[string, () => TlsFiles, RegExp]>([
    ['no certificate', () => ({ ...filesOf(good), certFile: missing }), /^TLS_CERT_FILE wants a file that can be read/],
    ['no key', () => ({ ...filesOf(good), keyFile: missing }), /^TLS_KEY_FILE wants a file that can be read/],
    ['no authorities', () => ({ ...filesOf(good), clientCaFile: missing }), /^MTLS_CA_FILE wants a file that can be/],
    [
      'an authority without its root',
      () => ({
        ...filesOf(good),
        clientCaFile: write(createCertificate({ issuer: createAuthority(), isAuthority: true }).cert),
      }),
      /^MTLS_CA_FILE wants, beside CN=test .*, the authority above it, up to the root$/,
    ],
    ['an empty certificate', () => filesOf({ ...good, cert: '' }), /^TLS_CERT_FILE wants certificates in PEM/],
    ['empty authorities', () => ({ ...filesOf(good), clientCaFile: write('') }), /^MTLS_CA_FILE wants certificates/],
    [
      'a cut certificate',
      () => filesOf({ ...good, cert: good.cert.replace(/^M.*$/m, '') }),
      /^TLS_CERT_FILE wants cert/,
    ],
    [
      'a key in the certificate’s place',
      () => filesOf({ ...good, cert: good.key }),
      /^TLS_CERT_FILE wants certificates/,
    ],
    [
      'a certificate in the key’s place',
      () => filesOf({ ...good, key: good.cert }),
      /^TLS_KEY_FILE wants a private key/,
    ],
    [
      'a key with a passphrase',
      () => filesOf({ ...good, key: encrypted }),
      /^TLS_KEY_FILE wants .* without a passphrase/,
    ],
    [
      'the key of another certificate',
      () => filesOf({ ...good, key: createServerCertificate().key }),
      /^TLS_KEY_FILE wants the private key of the first certificate/,
    ],
    [
      'the chain before the certificate',
      () => filesOf({ ...good, cert: createAuthority().cert + good.cert }),
      /^TLS_KEY_FILE wants the private key of the first certificate/,
    ],
    [
      'a certificate that has expired',
      () => filesOf(createServerCertificate({ validUntil: new Date(Date.now() - 1_000) })),
      /^TLS_CERT_FILE wants a certificate that is valid: it expired at /,
    ],
    [
      'a certificate that is not valid yet',
      () => filesOf(createServerCertificate({ validFrom: new Date(Date.now() + HOUR_MS) })),
      /^TLS_CERT_FILE wants a certificate that is valid: it begins at /,
    ],
    [
      'a key that is too weak for OpenSSL',
      () => filesOf(createServerCertificate({ keyPair: weak, issuer: createAuthority() })),
      /^TLS_CERT_FILE wants certificates that OpenSSL accepts: .*key too small/,
    ],
  ])('%s is told in one line', async (_what, files, line) => {
    const fault = await readTlsFiles(files(), Date.now()).catch((error: Error) => error);
    expect(fault).toMatchObject({ code: 'configuration', message: expect.stringMatching(line) });
    expect((fault as Error).message).not.toContain('\n');
    expect((fault as Error).message).not.toMatch(/BEGIN|hunter2/);
  });
});

describe('files that change while the server runs', () => {
  async function watched(logger = silentLogger) {
    const files = filesOf(good);
    const applied: string[] = [];
    const current = await readTlsFiles(files, Date.now());
    const watch = watchTlsFiles({
      files,
      current,
      apply: ({ cert }) => applied.push(cert.toString()),
      clock: Date.now,
      logger,
      intervalMs: 24 * HOUR_MS,
    });
    const replace = ({ cert, key }: Pick<TestCertificate, 'cert' | 'key'>) => {
      writeFileSync(files.certFile, cert);
      writeFileSync(files.keyFile, key);
    };
    return { watch, applied, replace };
  }

  test('are taken over once, and only where they changed', async () => {
    const { watch, applied, replace } = await watched();
    await watch.look();
    expect(applied).toEqual([]);
    const next = createServerCertificate();
    replace(next);
    await watch.look();
    await watch.look();
    expect(applied).toEqual([next.cert]);
    watch.stop();
  });

  test('are left alone while they are broken: that is logged once, until they are good', async () => {
    const recording = recordingLogger();
    const { watch, applied, replace } = await watched(recording.logger);
    const next = createServerCertificate();
    const faults = () => recording.lines.filter(({ level }) => level === 50).map(({ reason }) => reason);
    replace({ cert: next.cert, key: good.key });
    await watch.look();
    await watch.look();
    expect(applied).toEqual([]);
    expect(faults()).toEqual([expect.stringMatching(/^TLS_KEY_FILE wants/)]);
    replace({ cert: '', key: good.key });
    await watch.look();
    expect(faults()).toHaveLength(2);
    replace(next);
    await watch.look();
    expect(applied).toEqual([next.cert]);
    expect(recording.text()).not.toContain('PRIVATE KEY');
    watch.stop();
  });

  test('are looked at again and again', async () => {
    const files = filesOf(good);
    const taken = Promise.withResolvers<void>();
    const current = await readTlsFiles(files, Date.now());
    const next = createServerCertificate();
    const options = { files, current, clock: Date.now, logger: silentLogger, intervalMs: 1 };
    const watch = watchTlsFiles({ ...options, apply: () => taken.resolve() });
    writeFileSync(files.certFile, next.cert);
    writeFileSync(files.keyFile, next.key);
    await taken.promise;
    watch.stop();
  });
});
