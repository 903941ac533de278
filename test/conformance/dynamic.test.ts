import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { type DocumentHost, startDocumentHost } from '../harness/document-host.ts';
import { createTestAccount } from '../harness/factories.ts';
import { authorizationRequest, codeFor } from '../harness/flows.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { askToRegister, register, send, WEB_APP } from '../harness/registration.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { post, redeem } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';

/*
 * What the certification plan "Dynamic" looks at (OpenID Connect Dynamic Client Registration 1.0). Elsewhere: signed userinfo
 * (integration/oidc/signed-answers.test.ts), and the server's own keys, which rotate under load
 * (lifecycle/rotation-under-load.test.ts) and on two nodes (integration/oidc/two-nodes.test.ts).
 */

let server: TestServer;
let host: DocumentHost;
let account: Awaited<ReturnType<typeof createTestAccount>>;

beforeAll(async () => {
  host = await startDocumentHost();
  server = await startTestServer({ environment: { REGISTRATION: 'open', REGISTRATIONS_PER_ADDRESS: '100000' } });
  account = await createTestAccount(server.domains);
});
afterAll(async () => {
  await server?.close();
  await host?.close();
});

type Key = { kid: string; privateKey: CryptoKey; jwk: object };

async function makeKey(): Promise<Key> {
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const kid = randomBytes(8).toString('hex');
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' } };
}

/** Whether the client is who it says, by an assertion with that key: then it is told that there is no such code. */
async function errorWith(client: { id: string }, { kid, privateKey }: Key): Promise<unknown> {
  const assertion = await new SignJWT({})
    .setProtectedHeader({ alg: 'RS256', kid })
    .setIssuer(client.id)
    .setSubject(client.id)
    .setAudience(server.issuer)
    .setJti(randomBytes(16).toString('hex'))
    .setIssuedAt()
    .setExpirationTime('1m')
    .sign(privateKey);
  const { body } = await post(`${server.issuer}/token`, undefined, {
    grant_type: 'authorization_code',
    code: 'no code',
    redirect_uri: WEB_APP.redirect_uris[0],
    code_verifier: 'a'.repeat(43),
    client_id: client.id,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
  });
  return body.error;
}

async function signInPage(client: { id: string }, parameters: Record<string, string> = {}) {
  return new Person().open(authorizationRequest(server.issuer, client.id, parameters).url);
}

describe('a client', () => {
  test('registers, reads what it registered, and deletes it (sections 3, 4)', async () => {
    const client = await register(server.issuer);
    expect(client.body).toMatchObject({ client_id: expect.any(String), registration_access_token: expect.any(String) });
    const read = await send('GET', client.uri, { token: client.token });
    expect(read).toMatchObject({ status: 200, body: { client_id: client.id, redirect_uris: WEB_APP.redirect_uris } });
    expect((await send('DELETE', client.uri, { token: client.token })).status).toBe(204);
    expect((await send('GET', client.uri, { token: client.token })).status).toBe(401);
  });

  test('authenticates with keys in its jwks (section 2)', async () => {
    const [key, other] = [await makeKey(), await makeKey()];
    const client = await register(server.issuer, {
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [key.jwk] },
    });
    expect(await errorWith(client, key)).toBe('invalid_grant');
    expect(await errorWith(client, { ...other, kid: key.kid })).toBe('invalid_client');
  });

  test('authenticates with keys at its jwks_uri, also with a new one there (key rotation)', async () => {
    const [first, next] = [await makeKey(), await makeKey()];
    const published = { keys: [first.jwk] };
    const jwksUri = host.answer('/client-keys', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(published));
    });
    const client = await register(server.issuer, {
      token_endpoint_auth_method: 'private_key_jwt',
      jwks_uri: jwksUri,
    });
    expect(await errorWith(client, first)).toBe('invalid_grant');
    published.keys = [next.jwk];
    // What was fetched serves for a minute; a change of the client makes the server look again.
    const changed = await send('PUT', client.uri, {
      token: client.token,
      body: { ...WEB_APP, client_id: client.id, token_endpoint_auth_method: 'private_key_jwt', jwks_uri: jwksUri },
    });
    expect(changed.status).toBe(200);
    await until('the new key is known', async () => (await errorWith(client, next)) === 'invalid_grant');
    expect(await errorWith(client, first)).toBe('invalid_client');
  });

  test('replaces its jwks, and the key before is of no use (key rotation)', async () => {
    const [first, next] = [await makeKey(), await makeKey()];
    const members = { ...WEB_APP, token_endpoint_auth_method: 'private_key_jwt' };
    const client = await register(server.issuer, { ...members, jwks: { keys: [first.jwk] } });
    const body = { ...members, client_id: client.id, jwks: { keys: [next.jwk] } };
    expect((await send('PUT', client.uri, { token: client.token, body })).status).toBe(200);
    expect(await errorWith(client, next)).toBe('invalid_grant');
    expect(await errorWith(client, first)).toBe('invalid_client');
  });
});

describe('sector_identifier_uri (section 5)', () => {
  const redirects = ['https://one.example.com/callback', 'https://two.example.com/callback'];
  const pairwise = { subject_type: 'pairwise', redirect_uris: redirects };

  test('is taken where it names every redirect URI', async () => {
    const sector = host.serve('/sector', redirects);
    const { body } = await register(server.issuer, { ...pairwise, sector_identifier_uri: sector });
    expect(body).toMatchObject({ subject_type: 'pairwise', sector_identifier_uri: sector });
  });

  test('is refused where it names not all of them, is not there, or is no list', async () => {
    const partial = host.serve('/partial-sector', redirects.slice(1));
    const odd = host.serve('/odd-sector', { redirect_uris: redirects });
    for (const sector of [partial, odd, `${host.origin}/nowhere`]) {
      const { status, body } = await askToRegister(server.issuer, { ...pairwise, sector_identifier_uri: sector });
      expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_client_metadata' });
    }
  });

  test('is wanted of a pairwise client with several hosts', async () => {
    expect((await askToRegister(server.issuer, pairwise)).body.error).toBe('invalid_client_metadata');
  });
});

describe('redirect URIs', () => {
  test('with a fragment are refused (section 2)', async () => {
    const { status, body } = await askToRegister(server.issuer, { redirect_uris: ['https://app.example.com/cb#a'] });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_redirect_uri' });
  });

  test('are compared exactly, with their query (OpenID Connect Core 1.0, section 3.1.2.1)', async () => {
    const registered = 'https://app.example.com/callback?foo=bar';
    const client = await register(server.issuer, { redirect_uris: [registered] });
    for (const redirectUri of [
      'https://app.example.com/callback',
      'https://app.example.com/callback?foo=bar&baz=1',
      'https://app.example.com/callback?foo=other',
    ]) {
      const { html } = await signInPage(client, { redirect_uri: redirectUri });
      expect(errorOnPage(html)).toBe('invalid_redirect_uri');
    }
    const { code, verifier } = await codeFor(server.issuer, client, account, {
      parameters: { redirect_uri: registered },
    });
    const answer = await redeem(server.issuer, client, code, verifier, { redirect_uri: registered });
    expect(answer.status).toBe(200);
  });
});

describe('where the server is held to oidc-basic, as for certification', () => {
  let basic: TestServer;
  beforeAll(async () => {
    basic = await startTestServer({
      environment: {
        REGISTRATION: 'open',
        REGISTRATIONS_PER_ADDRESS: '100000',
        PROFILE: 'oidc-basic',
        RESPONSE_TYPES: 'code,id_token,id_token token,code id_token,code token,code id_token token',
      },
    });
  });
  afterAll(() => basic?.close());

  test.each(['id_token', 'id_token token', 'code id_token', 'code token', 'code id_token token'])(
    'a client registers for the response type %s',
    async (type) => {
      const grants = [
        ...(type.includes('code') ? ['authorization_code'] : []),
        ...(type.includes('token') ? ['implicit'] : []),
      ];
      const { body } = await register(basic.issuer, { response_types: [type], grant_types: grants });
      expect(body).toMatchObject({ response_types: [type], grant_types: grants });
    },
  );

  test('a confidential client needs no PKCE, and a public one does', async () => {
    const without = { code_challenge: undefined, code_challenge_method: undefined };
    const { login, password } = await createTestAccount(basic.domains);
    const client = await register(basic.issuer);
    const { code } = await codeFor(basic.issuer, client, { login, password }, { parameters: without });
    const { status } = await post(`${basic.issuer}/token`, client, {
      grant_type: 'authorization_code',
      code,
      redirect_uri: WEB_APP.redirect_uris[0],
    });
    expect(status).toBe(200);
    const open = await register(basic.issuer, { token_endpoint_auth_method: 'none' });
    const { url } = await new Person().open(authorizationRequest(basic.issuer, open.id, without).url);
    expect(new URL(url).searchParams.get('error')).toBe('invalid_request');
  });
});

describe('the sign-in page shows', () => {
  const links = {
    logo_uri: 'https://app.example.com/logo.png',
    policy_uri: 'https://app.example.com/policy',
    tos_uri: 'https://app.example.com/terms',
  };

  test.each(Object.entries(links))('the %s of a client (section 2)', async (member, url) => {
    const client = await register(server.issuer, { [member]: url });
    const { html, response } = await signInPage(client);
    expect(html).toContain(member === 'logo_uri' ? `src="${url}"` : `href="${url}"`);
    const images = /img-src ([^;]*)/.exec(response.headers.get('content-security-policy') ?? '')?.[1]?.split(' ');
    // From where the browser will be sent anyway, and from nowhere else.
    expect(images).toEqual(
      member === 'logo_uri'
        ? expect.arrayContaining(['https://app.example.com', "'self'", 'data:'])
        : ["'self'", 'data:'],
    );
  });
});
