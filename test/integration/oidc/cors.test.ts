import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient, type TestClient } from '../../harness/factories.ts';
import { codeFor, signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { redeem } from '../../harness/token-requests.ts';

const ORIGIN = 'https://spa.example.com';
const ENDPOINTS_OF_CLIENTS = ['/token', '/userinfo', '/revoke', '/introspect', '/device_authorization'];

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  client = await createTestClient(server.domains, {
    metadata: { token_endpoint_auth_method: 'none' },
    allowedOrigins: [ORIGIN],
  });
});
afterAll(() => server.close());

function preflight(path: string, origin: string) {
  return fetch(`${server.issuer}${path}`, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization, content-type',
    },
  });
}

/** A code exchange as a page of that origin would make it. */
async function redeemFrom(origin: string) {
  const person = await createTestAccount(server.domains);
  const { code, verifier } = await codeFor(server.issuer, client, person);
  return fetch(`${server.issuer}/token`, {
    method: 'POST',
    headers: { origin },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      client_id: client.id,
      code,
      code_verifier: verifier,
      redirect_uri: client.client.metadata.redirect_uris?.[0] ?? '',
    }),
  });
}

describe('a page of an origin that the client registered', () => {
  test.each(ENDPOINTS_OF_CLIENTS)('gets past the preflight of %s', async (path) => {
    const response = await preflight(path, ORIGIN);
    expect(response.status).toBe(204);
    expect(response.headers.get('access-control-allow-origin')).toBe(ORIGIN);
    expect(response.headers.get('access-control-allow-methods')).toContain('POST');
    expect(response.headers.get('access-control-allow-headers')).toMatch(/authorization/i);
    expect(response.headers.get('access-control-allow-credentials')).toBeNull();
  });

  test('may send a DPoP proof, and read the nonce that it has to bear', async () => {
    const response = await fetch(`${server.issuer}/token`, {
      method: 'OPTIONS',
      headers: { origin: ORIGIN, 'access-control-request-method': 'POST', 'access-control-request-headers': 'dpop' },
    });
    expect(response.headers.get('access-control-allow-headers')).toMatch(/dpop/i);
    const answer = await redeemFrom(ORIGIN);
    expect(answer.headers.get('access-control-expose-headers')).toMatch(/dpop-nonce/i);
  });

  test('may redeem a code and read userinfo', async () => {
    const response = await redeemFrom(ORIGIN);
    expect(response.status).toBe(200);
    expect(response.headers.get('access-control-allow-origin')).toBe(ORIGIN);
    expect(response.headers.get('vary')).toMatch(/origin/i);
    const { access_token } = (await response.json()) as { access_token: string };
    const info = await fetch(`${server.issuer}/userinfo`, {
      headers: { origin: ORIGIN, authorization: `Bearer ${access_token}` },
    });
    expect(info.status).toBe(200);
    expect(info.headers.get('access-control-allow-origin')).toBe(ORIGIN);
    // Why a token is refused can be read too.
    expect(info.headers.get('access-control-expose-headers')).toMatch(/www-authenticate/i);
  });
});

describe('a page of any other origin', () => {
  test.each(['https://evil.example', 'http://spa.example.com', 'https://spa.example.com:8443', 'null'])(
    '%s can’t redeem a code',
    async (origin) => {
      const response = await redeemFrom(origin);
      expect(response.status).toBe(400);
      expect(response.headers.get('access-control-allow-origin')).toBeNull();
      expect(await response.json()).toMatchObject({ error: 'invalid_request' });
    },
  );

  test('can’t read userinfo, with the right token too', async () => {
    const person = await createTestAccount(server.domains);
    const { access_token } = await signInForTokens(server.issuer, client, person);
    const response = await fetch(`${server.issuer}/userinfo`, {
      headers: { origin: 'https://evil.example', authorization: `Bearer ${access_token}` },
    });
    expect(response.status).toBe(400);
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(await response.text()).not.toContain(person.account.id);
  });

  test('is no obstacle where a client registered none and calls from no browser', async () => {
    const confidential = await createTestClient(server.domains);
    const { code, verifier } = await codeFor(server.issuer, confidential, await createTestAccount(server.domains));
    expect((await redeem(server.issuer, confidential, code, verifier)).status).toBe(200);
  });
});

test.each(['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server', '/jwks'])(
  '%s is open to every origin',
  async (path) => {
    const response = await fetch(`${server.issuer}${path}`, { headers: { origin: 'https://anyone.example' } });
    expect(response.status).toBe(200);
    expect(['*', 'https://anyone.example']).toContain(response.headers.get('access-control-allow-origin'));
  },
);

test.each(['/authorize', '/logout', '/device', '/interaction/x'])(
  '%s, where people are, is open to none',
  async (path) => {
    const response = await fetch(`${server.issuer}${path}`, { headers: { origin: ORIGIN }, redirect: 'manual' });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
  },
);
