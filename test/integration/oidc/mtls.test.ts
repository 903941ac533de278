import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as oidc from 'openid-client';
import { createAuthority, createCertificate, type TestCertificate } from '../../harness/certificates.ts';
import { type CertifiedClient, createCertifiedClient } from '../../harness/certified-client.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  REDIRECT_URI,
  unique,
} from '../../harness/factories.ts';
import { codeFor } from '../../harness/flows.ts';
import { type SecureFetch, secureFetch } from '../../harness/secure-fetch.ts';
import { startTlsServer, type TlsServer } from '../../harness/tls-server.ts';

const clientCa = createAuthority('Client Authority');
let server: TlsServer;
let now: number | undefined;
const clients: SecureFetch[] = [];
beforeAll(async () => {
  server = await startTlsServer({ clientCa, clock: () => now ?? Date.now() });
});
afterAll(async () => {
  for (const client of clients) client.close();
  await server.close();
});

function fetchAs(certificate?: TestCertificate): SecureFetch {
  const client = secureFetch({ ca: server.ca, certificate });
  clients.push(client);
  return client;
}

async function post(fetched: SecureFetch, url: string, parameters: Record<string, string>) {
  const response = await fetched(url, { method: 'POST', body: new URLSearchParams(parameters) });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const ask = (fetched: SecureFetch, id: string, extra: Record<string, string> = {}) =>
  post(fetched, `${server.mtlsUrl}/token`, { grant_type: 'client_credentials', client_id: id, ...extra });

const certified = (metadata: Record<string, unknown> = {}) => createCertifiedClient(server.domains, clientCa, metadata);

describe('tls_client_auth', () => {
  test('a client gets a token with a certificate of a known authority that names it', async () => {
    const { id, certificate } = await certified();
    const { status, body } = await ask(fetchAs(certificate), id);
    expect({ status, body }).toEqual({
      status: 200,
      body: expect.objectContaining({ access_token: expect.any(String), token_type: 'Bearer' }),
    });
  });

  test('by an alternative name as well, whatever its subject', async () => {
    const host = `${unique('client')}.example.com`;
    const { id } = await certified({ tls_client_auth_subject_dn: undefined, tls_client_auth_san_dns: host });
    const named = createCertificate({ issuer: clientCa, alternativeNames: [{ dNSName: host }] });
    const wildcard = createCertificate({ issuer: clientCa, alternativeNames: [{ dNSName: '*.example.com' }] });
    expect((await ask(fetchAs(named), id)).status).toBe(200);
    expect(await ask(fetchAs(wildcard), id)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test.each<[string, (it: CertifiedClient) => TestCertificate | undefined]>([
    ['no certificate', () => undefined],
    ['a certificate that names somebody else', () => createCertificate({ issuer: clientCa })],
    [
      'the same name by an unknown authority',
      ({ subject }) => createCertificate({ subject, issuer: createAuthority() }),
    ],
    ['the same name, signed by itself', ({ subject }) => createCertificate({ subject })],
    [
      'one that has expired',
      ({ subject }) => createCertificate({ subject, issuer: clientCa, validUntil: new Date(Date.now() - 1_000) }),
    ],
    [
      'one that is not valid yet',
      ({ subject }) => createCertificate({ subject, issuer: clientCa, validFrom: new Date(Date.now() + 60_000) }),
    ],
    ['one for servers', ({ subject }) => createCertificate({ subject, issuer: clientCa, usage: 'server' })],
    [
      'one by a client that takes itself for an authority',
      ({ subject, certificate }) => createCertificate({ subject, issuer: certificate }),
    ],
  ])('%s is refused', async (_what, make) => {
    const it = await certified();
    expect(await ask(fetchAs(make(it)), it.id)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test('the same name by an authority that only has the name of the known one is refused, or cut off', async () => {
    const { id, subject } = await certified();
    const forged = createCertificate({ subject, issuer: createAuthority('Client Authority') });
    // Where a signature doesn't fit, OpenSSL's error may end the connection in the middle of the request.
    const answer = await ask(fetchAs(forged), id).catch((error: NodeJS.ErrnoException) => error.code);
    expect(['ECONNRESET', 401]).toContain(typeof answer === 'object' ? answer.status : answer);
  });

  test('a certificate is good on an open connection no longer than elsewhere', async () => {
    const it = await certified();
    const client = fetchAs(it.certificate);
    expect((await ask(client, it.id)).status).toBe(200);
    now = Date.now() + 31 * 24 * 60 * 60 * 1_000;
    try {
      expect(await ask(client, it.id)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    } finally {
      now = undefined;
    }
  });

  test('the certificate of one client says nothing for another', async () => {
    const [one, other] = [await certified(), await certified()];
    expect(await ask(fetchAs(one.certificate), other.id)).toMatchObject({ status: 401 });
  });

  test('on the port of browsers no certificate counts', async () => {
    const it = await certified();
    const answer = await post(fetchAs(it.certificate), `${server.issuer}/token`, {
      grant_type: 'client_credentials',
      client_id: it.id,
    });
    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test('nor does one in a header, on either port', async () => {
    const it = await certified();
    for (const url of [server.issuer, server.mtlsUrl]) {
      const response = await fetchAs()(`${url}/token`, {
        method: 'POST',
        headers: {
          'client-cert': `:${it.certificate.der.toString('base64')}:`,
          'x-client-cert-verified': 'SUCCESS',
        },
        body: new URLSearchParams({ grant_type: 'client_credentials', client_id: it.id }),
      });
      expect(response.status).toBe(401);
    }
  });
});

describe('self_signed_tls_client_auth', () => {
  async function selfSigned(...certificates: TestCertificate[]) {
    const api = await createTestApi(server.domains);
    return createServiceClient(server.domains, api.scopes[0]?.scope ?? '', {
      metadata: {
        token_endpoint_auth_method: 'self_signed_tls_client_auth',
        jwks: { keys: certificates.map(({ jwk }) => jwk) as { kty: string }[] },
      },
    });
  }

  test('a client gets a token with any of its registered certificates, and with no other', async () => {
    const [first, second] = [createCertificate(), createCertificate()];
    const { id } = await selfSigned(first, second);
    expect((await ask(fetchAs(first), id)).status).toBe(200);
    expect((await ask(fetchAs(second), id)).status).toBe(200);
    const strangers = [undefined, createCertificate(), createCertificate({ issuer: clientCa })];
    for (const stranger of strangers) {
      expect(await ask(fetchAs(stranger), id)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    }
  });
});

describe('tokens that are bound to a certificate', () => {
  test('opaque: introspection shows which one', async () => {
    const it = await certified({ tls_client_certificate_bound_access_tokens: true });
    const client = fetchAs(it.certificate);
    const { body } = await ask(client, it.id);
    const introspected = await post(client, `${server.mtlsUrl}/introspect`, {
      client_id: it.id,
      token: String(body.access_token),
    });
    expect(introspected.body).toMatchObject({ active: true, cnf: { 'x5t#S256': it.certificate.thumbprint } });
  });

  test('JWT: the claim says it, and introspection too', async () => {
    const it = await certified({ tls_client_certificate_bound_access_tokens: true });
    const jwtApi = await createTestApi(server.domains, { tokenFormat: 'jwt' });
    const scope = jwtApi.scopes[0]?.scope ?? '';
    await server.domains.clients.update(it.id, { metadata: { scope } });
    const client = fetchAs(it.certificate);
    const { body } = await ask(client, it.id, { scope });
    const [, payload = ''] = String(body.access_token).split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    expect(claims.cnf).toEqual({ 'x5t#S256': it.certificate.thumbprint });
    const introspected = await post(client, `${server.mtlsUrl}/introspect`, {
      client_id: it.id,
      token: String(body.access_token),
    });
    expect(introspected.body).toMatchObject({ active: true, cnf: { 'x5t#S256': it.certificate.thumbprint } });
  });

  test('a client that wants them gets none without a certificate', async () => {
    const api = await createTestApi(server.domains);
    const { id, secret } = await createServiceClient(server.domains, api.scopes[0]?.scope ?? '', {
      metadata: {
        token_endpoint_auth_method: 'client_secret_post',
        tls_client_certificate_bound_access_tokens: true,
      },
    });
    const withSecret = { client_secret: secret };
    expect(await ask(fetchAs(), id, withSecret)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const certificate = createCertificate();
    const { body } = await ask(fetchAs(certificate), id, withSecret);
    const introspected = await post(fetchAs(), `${server.issuer}/introspect`, {
      client_id: id,
      token: String(body.access_token),
      ...withSecret,
    });
    expect(introspected.body).toMatchObject({ active: true, cnf: { 'x5t#S256': certificate.thumbprint } });
  });
});

describe('a certified client library, from the discovery document alone,', () => {
  async function discover(certificate: TestCertificate, metadata: Record<string, unknown>) {
    const calls: string[] = [];
    const fetched = fetchAs(certificate);
    const configuration = await oidc.discovery(
      new URL(server.issuer),
      String(metadata.client_id),
      { use_mtls_endpoint_aliases: true },
      oidc.TlsClientAuth(),
      {
        [oidc.customFetch]: (url, init) => {
          calls.push(url);
          return fetched(url, init);
        },
      },
    );
    return { configuration, calls };
  }

  test('calls the aliases: a service gets a bound token, introspects and revokes it', async () => {
    const it = await certified({ tls_client_certificate_bound_access_tokens: true });
    const { configuration, calls } = await discover(it.certificate, { client_id: it.id });
    const tokens = await oidc.clientCredentialsGrant(configuration);
    const introspected = await oidc.tokenIntrospection(configuration, tokens.access_token);
    expect(introspected).toMatchObject({ active: true, cnf: { 'x5t#S256': it.certificate.thumbprint } });
    await oidc.tokenRevocation(configuration, tokens.access_token);
    expect(await oidc.tokenIntrospection(configuration, tokens.access_token)).toEqual({ active: false });
    expect(calls.slice(1)).toEqual(
      ['/token', '/introspect', '/revoke', '/introspect'].map((path) => `${server.mtlsUrl}${path}`),
    );
  });

  test('signs a person in; their tokens are of no use to whoever stole them', async () => {
    const it = await certified({
      tls_client_certificate_bound_access_tokens: true,
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: [REDIRECT_URI],
      scope: 'openid offline_access',
    });
    const person = await createTestAccount(server.domains);
    const { configuration, calls } = await discover(it.certificate, { client_id: it.id });
    const before = getCACertificates();
    setDefaultCACertificates([...before, server.ca]);
    const code = await codeFor(server.issuer, { id: it.id, secret: '' }, person, {
      parameters: { scope: 'openid offline_access', prompt: 'consent' },
    }).finally(() => setDefaultCACertificates(before));
    const back = new URL(`${REDIRECT_URI}?code=${code.code}&state=${code.state}&iss=${server.issuer}`);
    const tokens = await oidc.authorizationCodeGrant(configuration, back, {
      pkceCodeVerifier: code.verifier,
      expectedState: code.state,
      expectedNonce: code.nonce,
    });
    const info = await oidc.fetchUserInfo(configuration, tokens.access_token, person.account.id);
    expect(info.sub).toBe(person.account.id);
    expect(calls.at(-1)).toBe(`${server.mtlsUrl}/userinfo`);

    const bearer = { headers: { authorization: `Bearer ${tokens.access_token}` } };
    const thieves = [
      await fetchAs()(`${server.issuer}/userinfo`, bearer),
      await fetchAs()(`${server.mtlsUrl}/userinfo`, bearer),
      await fetchAs(createCertificate({ subject: it.subject, issuer: clientCa }))(`${server.mtlsUrl}/userinfo`, bearer),
      await fetchAs(it.certificate)(`${server.issuer}/userinfo`, bearer),
    ];
    for (const thief of thieves) {
      expect(thief.status).toBe(401);
      expect(await thief.json()).toMatchObject({ error: 'invalid_token' });
    }
    const refreshed = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '');
    expect((await oidc.tokenIntrospection(configuration, refreshed.access_token)).cnf).toEqual({
      'x5t#S256': it.certificate.thumbprint,
    });
  });
});

describe('discovery', () => {
  test('says where clients with certificates call, and how', async () => {
    const response = await fetchAs()(`${server.issuer}/.well-known/oauth-authorization-server`);
    const document = (await response.json()) as Record<string, unknown>;
    expect(document.tls_client_certificate_bound_access_tokens).toBe(true);
    expect(document.token_endpoint_auth_methods_supported).toEqual(
      expect.arrayContaining(['tls_client_auth', 'self_signed_tls_client_auth']),
    );
    const aliases = document.mtls_endpoint_aliases as Record<string, string>;
    expect(aliases).toMatchObject({
      token_endpoint: `${server.mtlsUrl}/token`,
      userinfo_endpoint: `${server.mtlsUrl}/userinfo`,
      introspection_endpoint: `${server.mtlsUrl}/introspect`,
      revocation_endpoint: `${server.mtlsUrl}/revoke`,
    });
    for (const [member, alias] of Object.entries(aliases)) {
      expect(new URL(alias).pathname).toBe(new URL(String(document[member])).pathname);
    }
  });
});
