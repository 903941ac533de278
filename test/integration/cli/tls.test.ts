import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createCertificate, createServerCertificate } from '../../harness/certificates.ts';
import { unique } from '../../harness/factories.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { createTlsFolder, type TlsFolder } from '../../harness/tls-server.ts';
import { openShared } from './command-line.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;

let tessera: Awaited<ReturnType<typeof openShared>>;
let tls: TlsFolder;
let folder: ReturnType<typeof freshFolder>;
beforeAll(async () => {
  tls = createTlsFolder();
  folder = freshFolder('cli');
  tessera = await openShared();
});
afterAll(async () => {
  await tessera.close();
  folder.remove();
  tls.remove();
});

describe('doctor looks at the TLS files', () => {
  const examine = async () => {
    const environment = { ...tls.environment, ISSUER: 'https://localhost:3000' };
    const { exitCode, stdout } = await tessera.run(['doctor', '--json'], { environment });
    const { checks } = JSON.parse(stdout) as { checks: { check: string }[] };
    return { exitCode, tls: checks.find(({ check }) => check === 'tls') };
  };

  test('and says until when the certificate is valid', async () => {
    const validUntil = new Date(Date.UTC(2099, 0, 1));
    tls.write(createServerCertificate({ validUntil }));
    expect(await examine()).toEqual({
      exitCode: 0,
      tls: { check: 'tls', ok: true, found: expect.stringMatching(/^certificate CN=.*, valid until 2099-01-01/) },
    });
  });

  test('and says that it wants to be renewed where less than two weeks are left', async () => {
    tls.write(createServerCertificate({ validUntil: new Date(Date.now() + 13.5 * DAY_MS) }));
    expect(await examine()).toMatchObject({
      exitCode: 0,
      tls: { ok: true, found: expect.stringContaining('less than 14 day(s) are left'), mend: expect.any(String) },
    });
  });

  test('and says what is wrong with them', async () => {
    tls.write(createServerCertificate({ validUntil: new Date(Date.now() - DAY_MS) }));
    expect(await examine()).toMatchObject({
      exitCode: 1,
      tls: { ok: false, found: expect.stringContaining('it expired at'), mend: expect.any(String) },
    });
  });
});

describe('a client that authenticates with a certificate is registered from the command line', () => {
  const MTLS = {
    MTLS_BASE_URL: 'https://mtls.example.com',
    CLIENT_CERT_VERIFIED_HEADER: 'X-Verified',
    TRUST_PROXY: '::1',
  };
  const create = (metadata: object, environment: Record<string, string> = MTLS) => {
    const file = join(folder.path, `${unique('metadata')}.json`);
    writeFileSync(file, JSON.stringify({ client_name: 'Orders', grant_types: ['client_credentials'], ...metadata }));
    return tessera.run(['client', 'create', '--id', unique('client'), '--metadata', file, '--json'], { environment });
  };
  const byName = { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_subject_dn: 'CN=orders' };

  test('by a name of it, or by the certificate itself, and has no secret', async () => {
    const selfSigned = {
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [createCertificate().jwk] },
    };
    for (const metadata of [byName, selfSigned]) {
      const { exitCode, stdout, stderr } = await create(metadata);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      expect(JSON.parse(stdout)).toMatchObject(metadata);
      expect(JSON.parse(stdout)).not.toHaveProperty('client_secret');
    }
  });

  test('not where mutual TLS is off', async () => {
    expect(await create(byName, {})).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/token_endpoint_auth_method/),
    });
    expect(await create({ tls_client_certificate_bound_access_tokens: true }, {})).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/wants mutual TLS, which is not set up here/),
    });
  });
});
