import { request } from 'node:http';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { attribute, createCertificate, OID, subjectOf, type TestCertificate } from '../../harness/certificates.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  unique,
} from '../../harness/factories.ts';
import { codeFor } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { introspect, redeem, userinfo } from '../../harness/token-requests.ts';

const PROXIED = { MTLS_BASE_URL: 'https://mtls.example.com', TRUST_PROXY: '127.0.0.1,::1' };
/** A proxy that verifies, by headers of its own names. */
const VERIFYING = {
  ...PROXIED,
  CLIENT_CERT_HEADER: 'X-SSL-Client-Cert',
  CLIENT_CERT_VERIFIED_HEADER: 'X-SSL-Client-Verify',
};

let proxied: TestServer;
let verifying: TestServer;
let untrusting: TestServer;
let off: TestServer;
beforeAll(async () => {
  proxied = await startTestServer({ environment: PROXIED });
  const other = (environment: Record<string, string>) => startTestServer({ environment, node: proxied });
  verifying = await other(VERIFYING);
  untrusting = await other({ ...VERIFYING, TRUST_PROXY: '192.0.2.1' });
  off = await other({ TRUST_PROXY: '127.0.0.1,::1' });
});
afterAll(async () => {
  for (const server of [off, untrusting, verifying, proxied]) await server.close();
});

type Headers = Record<string, string | string[]>;

/** As `fetch` would not send them: a header may come twice. */
async function send(url: string, headers: Headers, body?: string) {
  return new Promise<{ status: number | undefined; body: Record<string, unknown> }>((resolve, reject) => {
    const sent = request(url, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    });
    sent.once('error', reject);
    sent.once('response', (answer) => {
      json(answer).then(
        (read) => resolve({ status: answer.statusCode, body: read as Record<string, unknown> }),
        reject,
      );
    });
    sent.end(body);
  });
}

function ask(server: TestServer, id: string, headers: Headers, extra: Record<string, string> = {}) {
  const parameters = new URLSearchParams({ grant_type: 'client_credentials', client_id: id, ...extra });
  return send(`${server.address}/token`, headers, parameters.toString());
}

const inRfc9440 = ({ der }: TestCertificate) => `:${der.toString('base64')}:`;
const escapedPem = ({ cert }: TestCertificate) => encodeURIComponent(cert);

async function service(metadata: Record<string, unknown>): Promise<string> {
  const api = await createTestApi(proxied.domains);
  const scope = api.scopes[0]?.scope ?? '';
  return (await createServiceClient(verifying.domains, scope, { metadata })).id;
}

async function selfSigned() {
  const certificate = createCertificate();
  const jwks = { keys: [certificate.jwk as { kty: string }] };
  return { certificate, id: await service({ token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks }) };
}

async function named(validUntil?: Date) {
  const name = unique('client');
  const subject = subjectOf(attribute(OID.CN, name));
  const certificate = createCertificate({ subject, ...(validUntil && { validUntil }) });
  const subjectDn = { tls_client_auth_subject_dn: `CN=${name}` };
  return { certificate, id: await service({ token_endpoint_auth_method: 'tls_client_auth', ...subjectDn }) };
}

const REFUSED = { status: 401, body: { error: 'invalid_client' } };

describe('a certificate that a trusted proxy hands over', () => {
  test.each([
    ['as RFC 9440 has it', inRfc9440],
    ['as URL-encoded PEM', escapedPem],
    ['as PEM with spaces for line breaks', ({ cert }: TestCertificate) => cert.trim().replace(/\n/g, ' ')],
  ])('%s authenticates a client', async (_form, write) => {
    const { id, certificate } = await selfSigned();
    expect((await ask(proxied, id, { 'Client-Cert': write(certificate) })).status).toBe(200);
    expect(await ask(proxied, id, { 'Client-Cert': write(createCertificate()) })).toMatchObject(REFUSED);
  });

  test.each<[string, (certificate: TestCertificate) => string]>([
    ['nothing', () => ''],
    ['base64 without its colons', ({ der }) => der.toString('base64')],
    ['base64url', ({ der }) => `:${der.toString('base64url')}:`],
    ['two byte sequences', (it) => `${inRfc9440(it)}, ${inRfc9440(it)}`],
    ['two certificates in PEM', (it) => encodeURIComponent(it.cert + createCertificate().cert)],
    ['half of an escape', (it) => `${escapedPem(it)}%`],
    ['a cut certificate', ({ der }) => `:${der.subarray(0, 100).toString('base64')}:`],
    ['a private key', ({ key }) => encodeURIComponent(key)],
    ['its thumbprint', ({ thumbprint }) => thumbprint],
  ])('counts as none where it is written as %s', async (_what, write) => {
    const { id, certificate } = await selfSigned();
    expect(await ask(proxied, id, { 'Client-Cert': write(certificate) })).toMatchObject(REFUSED);
  });

  test('counts as none where the header comes twice: one may be a stranger’s', async () => {
    const { id, certificate } = await selfSigned();
    const own = inRfc9440(certificate);
    for (const both of [
      [own, own],
      [own, inRfc9440(createCertificate())],
      [inRfc9440(createCertificate()), own],
    ]) {
      expect(await ask(proxied, id, { 'Client-Cert': both })).toMatchObject(REFUSED);
    }
  });

  test('is looked for in the header that was named, and in no other', async () => {
    const { id, certificate } = await selfSigned();
    const handedOver = escapedPem(certificate);
    expect((await ask(verifying, id, { 'X-SSL-Client-Cert': handedOver })).status).toBe(200);
    expect(await ask(verifying, id, { 'Client-Cert': handedOver })).toMatchObject(REFUSED);
    expect(await ask(proxied, id, { 'X-SSL-Client-Cert': handedOver })).toMatchObject(REFUSED);
  });
});

describe('the attack: a stranger writes the headers of the proxy', () => {
  test('and is nobody, whatever is in them', async () => {
    const [self, byName] = [await selfSigned(), await named()];
    const write = (it: TestCertificate) => ({ 'X-SSL-Client-Cert': escapedPem(it), 'X-SSL-Client-Verify': 'SUCCESS' });
    expect((await ask(verifying, self.id, write(self.certificate))).status).toBe(200);
    expect((await ask(verifying, byName.id, write(byName.certificate))).status).toBe(200);
    for (const { id, certificate } of [self, byName]) {
      const forwarded = { 'x-forwarded-for': '192.0.2.1', forwarded: 'for=192.0.2.1' };
      expect(await ask(untrusting, id, write(certificate))).toMatchObject(REFUSED);
      expect(await ask(untrusting, id, { ...write(certificate), ...forwarded })).toMatchObject(REFUSED);
    }
  });
});

describe('tls_client_auth by a proxy', () => {
  test.each([undefined, '', 'success', 'NONE', 'FAILED:unable to verify the first certificate', 'SUCCESS, SUCCESS'])(
    'wants the proxy to say SUCCESS, not %j',
    async (verdict) => {
      const { id, certificate } = await named();
      const handedOver: Headers = { 'X-SSL-Client-Cert': escapedPem(certificate) };
      const said: Headers = verdict === undefined ? {} : { 'X-SSL-Client-Verify': verdict };
      expect((await ask(verifying, id, { ...handedOver, 'X-SSL-Client-Verify': 'SUCCESS' })).status).toBe(200);
      expect(await ask(verifying, id, { ...handedOver, ...said })).toMatchObject(REFUSED);
    },
  );

  test('wants it once', async () => {
    const { id, certificate } = await named();
    const headers = { 'X-SSL-Client-Cert': escapedPem(certificate), 'X-SSL-Client-Verify': ['SUCCESS', 'FAILED:x'] };
    expect(await ask(verifying, id, headers)).toMatchObject(REFUSED);
  });

  test('wants a certificate that is valid at this moment, though the proxy says SUCCESS', async () => {
    const { id, certificate } = await named(new Date(Date.now() - 1_000));
    const headers = { 'X-SSL-Client-Cert': escapedPem(certificate), 'X-SSL-Client-Verify': 'SUCCESS' };
    expect(await ask(verifying, id, headers)).toMatchObject(REFUSED);
  });

  test('is neither offered nor taken where no header says that a chain was verified', async () => {
    const { id, certificate } = await named();
    const headers = { 'Client-Cert': inRfc9440(certificate), 'X-SSL-Client-Verify': 'SUCCESS' };
    const { status, body } = await ask(proxied, id, headers);
    expect({ status, body }).toEqual({
      status: 400,
      body: expect.objectContaining({ error: 'invalid_client_metadata' }),
    });
    expect(await methodsOf(proxied)).toEqual(expect.not.arrayContaining(['tls_client_auth']));
    const created = await proxied.domains.clients.create({
      metadata: {
        client_id: unique('client'),
        grant_types: ['client_credentials'],
        token_endpoint_auth_method: 'tls_client_auth',
        tls_client_auth_subject_dn: 'CN=client',
      },
    });
    expect(created).toMatchObject({ ok: false, reason: expect.stringContaining('token_endpoint_auth_method') });
  });
});

async function methodsOf(server: TestServer): Promise<unknown> {
  const document = (await (await fetch(`${server.address}/.well-known/openid-configuration`)).json()) as Metadata;
  return document.token_endpoint_auth_methods_supported;
}
type Metadata = Record<string, unknown>;

describe('what is bound to a certificate', () => {
  test('is of no use at userinfo to whoever has the token alone', async () => {
    const client = await createTestClient(proxied.domains, {
      metadata: { tls_client_certificate_bound_access_tokens: true },
    });
    const account = await createTestAccount(proxied.domains);
    const certificate = createCertificate();
    const { code, verifier } = await codeFor(proxied.address, client, account);
    expect((await redeem(proxied.address, client, code, verifier)).body).toMatchObject({ error: 'invalid_grant' });
    const again = await codeFor(proxied.address, client, account);
    const basic = Buffer.from(`${client.id}:${client.secret}`).toString('base64');
    const parameters = new URLSearchParams({
      grant_type: 'authorization_code',
      code: again.code,
      code_verifier: again.verifier,
      redirect_uri: 'https://app.example.com/callback',
    });
    const withCertificate = { 'Client-Cert': inRfc9440(certificate) };
    const { body } = await send(
      `${proxied.address}/token`,
      { authorization: `Basic ${basic}`, ...withCertificate },
      parameters.toString(),
    );
    const token = String(body.access_token);
    expect((await introspect(proxied.address, client, token)).body).toMatchObject({
      cnf: { 'x5t#S256': certificate.thumbprint },
    });
    const bearer = { authorization: `Bearer ${token}` };
    const url = `${proxied.address}/userinfo`;
    expect(await send(url, { ...bearer, ...withCertificate })).toMatchObject({ status: 200 });
    for (const stolen of [
      {},
      { 'Client-Cert': inRfc9440(createCertificate()) },
      { 'Client-Cert': [inRfc9440(certificate), inRfc9440(certificate)] },
    ]) {
      expect(await send(url, { ...bearer, ...stolen })).toMatchObject({
        status: 401,
        body: { error: 'invalid_token' },
      });
    }
    // Where mutual TLS was switched off, or this node is not told of it yet.
    expect(await userinfo(off.address, token)).toMatchObject({ status: 401, body: { error: 'invalid_token' } });
  });
});

describe('without mutual TLS', () => {
  test('discovery says nothing of it, and no certificate counts', async () => {
    const document = (await (await fetch(`${off.address}/.well-known/openid-configuration`)).json()) as Metadata;
    expect(Object.keys(document).filter((name) => /mtls|tls_client/.test(name))).toEqual([]);
    expect(JSON.stringify(document)).not.toContain('tls_client_auth');
    const { id, certificate } = await selfSigned();
    expect((await ask(off, id, { 'Client-Cert': inRfc9440(certificate) })).status).toBe(400);
  });

  test('a client that wants bound tokens is not registered, and gets no others where it was before', async () => {
    const metadata = { tls_client_certificate_bound_access_tokens: true };
    const scope = (await createTestApi(proxied.domains)).scopes[0]?.scope ?? '';
    const refused = await off.domains.clients.create({
      metadata: { client_id: unique('client'), grant_types: ['client_credentials'], scope, ...metadata },
    });
    expect(refused).toMatchObject({ ok: false, reason: expect.stringContaining('wants mutual TLS') });
    const { id, secret } = await createServiceClient(proxied.domains, scope, {
      metadata: { token_endpoint_auth_method: 'client_secret_post', ...metadata },
    });
    expect(await ask(off, id, {}, { client_secret: secret })).toMatchObject({
      status: 400,
      body: { error: 'invalid_client_metadata' },
    });
  });
});

test('discovery names the origin that the proxy asks for certificates on', async () => {
  const document = (await (await fetch(`${verifying.address}/.well-known/openid-configuration`)).json()) as Metadata;
  expect(document.mtls_endpoint_aliases).toMatchObject({ token_endpoint: 'https://mtls.example.com/token' });
  expect(await methodsOf(verifying)).toEqual(
    expect.arrayContaining(['tls_client_auth', 'self_signed_tls_client_auth']),
  );
  expect(await methodsOf(proxied)).toEqual(expect.arrayContaining(['self_signed_tls_client_auth']));
});
