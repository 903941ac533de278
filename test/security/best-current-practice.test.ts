import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createTestAccount, createTestApi, createTestClient, REDIRECT_URI, unique } from '../harness/factories.ts';
import { authorizationRequest, codeFor } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { ageRotation } from '../harness/rotations.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { introspect, isActive, post, redeem, refresh, revoke, userinfo } from '../harness/token-requests.ts';

/** What RFC 9700 asks of an authorization server and no other file here shows. docs/security.md has the whole list. */
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const refusalOf = async (parameters: Record<string, string>, clientId: string) => {
  const { url } = await new Person().open(authorizationRequest(server.issuer, clientId, parameters).url);
  // Refused answers of other response types come in the fragment.
  const { searchParams, hash } = new URL(url);
  return searchParams.get('error') ?? new URLSearchParams(hash.slice(1)).get('error');
};

describe('grants', () => {
  test('that put tokens into the front channel are not there (2.1.2)', async () => {
    const client = await createTestClient(server.domains);
    for (const response_type of [
      'token',
      'id_token',
      'id_token token',
      'code id_token',
      'code token',
      'code id_token token',
      'none',
    ]) {
      expect({ response_type, error: await refusalOf({ response_type }, client.id) }).toEqual({
        response_type,
        error: 'unsupported_response_type',
      });
    }
  });

  test('by the password of a person is not there (2.4)', async () => {
    const client = await createTestClient(server.domains);
    const { login, password } = await createTestAccount(server.domains);
    const { status, body } = await post(`${server.issuer}/token`, client, {
      grant_type: 'password',
      username: login,
      password,
    });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'unsupported_grant_type' });
  });

  test('of a client that is not registered for them are refused', async () => {
    const client = await createTestClient(server.domains, { metadata: { grant_types: ['authorization_code'] } });
    for (const grant_type of ['client_credentials', 'refresh_token']) {
      const { status, body } = await post(`${server.issuer}/token`, client, { grant_type, refresh_token: 'x' });
      expect({ status, body }).toEqual({
        status: 400,
        body: {
          error: expect.stringMatching(/^(unauthorized_client|invalid_request)$/),
          error_description: 'requested grant type is not allowed for this client',
        },
      });
    }
  });

  test('are told in discovery as they are: S256 alone, no implicit grant, the issuer in every response (2.6)', async () => {
    const response = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    const metadata = (await response.json()) as Record<string, unknown>;
    expect(metadata).toMatchObject({
      issuer: server.issuer,
      code_challenge_methods_supported: ['S256'],
      response_types_supported: ['code'],
      authorization_response_iss_parameter_supported: true,
    });
    expect(JSON.stringify(metadata)).not.toMatch(/"none","|"HS(256|384|512)|implicit|"password"|client_secret_jwt/);
  });
});

describe('a code', () => {
  test('is worth nothing to another client, and stays good for its own (4.5)', async () => {
    const [own, other] = [await createTestClient(server.domains), await createTestClient(server.domains)];
    const { code, verifier } = await codeFor(server.issuer, own, await createTestAccount(server.domains));
    expect((await redeem(server.issuer, other, code, verifier)).body.error).toBe('invalid_grant');
    expect((await redeem(server.issuer, own, code, verifier)).status).toBe(200);
  });

  test('injected into another person’s flow fails at their verifier (4.5)', async () => {
    const client = await createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } });
    const stolen = await codeFor(server.issuer, client, await createTestAccount(server.domains));
    const victim = await codeFor(server.issuer, client, await createTestAccount(server.domains));
    for (const verifier of [victim.verifier, '', 'a'.repeat(43)]) {
      const { status, body } = await redeem(server.issuer, client, stolen.code, verifier);
      expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_grant' });
    }
  });

  test('carries its nonce into the ID token, and names the issuer beside it (2.1, 4.4)', async () => {
    const client = await createTestClient(server.domains);
    const issued = await codeFor(server.issuer, client, await createTestAccount(server.domains));
    const { body } = await redeem(server.issuer, client, issued.code, issued.verifier);
    expect(decodeJwt(String(body.id_token))).toMatchObject({ nonce: issued.nonce, iss: server.issuer, aud: client.id });
  });
});

describe('an access token', () => {
  test('in the query of a request is refused, for it would stay in logs and histories (4.3)', async () => {
    const client = await createTestClient(server.domains);
    const { code, verifier } = await codeFor(server.issuer, client, await createTestAccount(server.domains));
    const { body } = await redeem(server.issuer, client, code, verifier);
    const response = await fetch(`${server.issuer}/userinfo?access_token=${body.access_token}`);
    expect(response.status).toBe(400);
    expect((await userinfo(server.issuer, String(body.access_token))).status).toBe(200);
  });

  test('is for one audience and the scopes that were allowed, and for nobody else to look at (2.3, 4.9)', async () => {
    const api = await createTestApi(server.domains, { tokenFormat: 'jwt' });
    const [scope = ''] = api.scopes.map((known) => known.scope);
    const client = await createTestClient(server.domains, { metadata: { scope: `openid ${scope}` } });
    const stranger = await createTestClient(server.domains);
    const parameters = { scope: `openid ${scope}`, resource: api.identifier };
    const issued = await codeFor(server.issuer, client, await createTestAccount(server.domains), { parameters });
    const { body } = await redeem(server.issuer, client, issued.code, issued.verifier, { resource: api.identifier });
    const token = String(body.access_token);
    expect(decodeJwt(token)).toMatchObject({ aud: api.identifier, scope, client_id: client.id });
    expect((await userinfo(server.issuer, token)).status).toBe(401);
    expect((await introspect(server.issuer, stranger, token)).body).toEqual({ active: false });
  });

  test('can be revoked by its own client alone', async () => {
    const [own, other] = [await createTestClient(server.domains), await createTestClient(server.domains)];
    const { code, verifier } = await codeFor(server.issuer, own, await createTestAccount(server.domains));
    const token = String((await redeem(server.issuer, own, code, verifier)).body.access_token);
    expect((await revoke(server.issuer, other, token)).status).toBe(400);
    expect(await isActive(server.issuer, own, token)).toBe(true);
  });
});

describe('a refresh token', () => {
  /** The default. */
  const LEEWAY_SECONDS = 10;
  const parameters = { scope: 'openid offline_access', prompt: 'consent' };

  async function tokensOf(token_endpoint_auth_method: 'none' | 'client_secret_basic') {
    const client = await createTestClient(server.domains, { metadata: { token_endpoint_auth_method } });
    const issued = await codeFor(server.issuer, client, await createTestAccount(server.domains), { parameters });
    const { body } = await redeem(server.issuer, client, issued.code, issued.verifier);
    return { client, refreshToken: String(body.refresh_token), accessToken: String(body.access_token) };
  }

  test('is bound to its client (4.14)', async () => {
    const { client, refreshToken } = await tokensOf('client_secret_basic');
    const other = await createTestClient(server.domains);
    const nobody = await createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } });
    for (const thief of [other, nobody]) {
      expect((await refresh(server.issuer, thief, refreshToken)).body.error).toBe('invalid_grant');
    }
    expect((await refresh(server.issuer, { id: client.id, secret: '' }, refreshToken)).status).toBe(401);
    expect((await refresh(server.issuer, client, refreshToken)).status).toBe(200);
  });

  test('of a public client is new each time, and the old one used again after the leeway ends them all (4.14)', async () => {
    const { client, refreshToken } = await tokensOf('none');
    const { body } = await refresh(server.issuer, client, refreshToken);
    const successor = String(body.refresh_token);
    expect(successor).not.toBe(refreshToken);
    expect((await refresh(server.issuer, client, successor)).status).toBe(200);
    await ageRotation(server.domains.database.pool, refreshToken, LEEWAY_SECONDS);
    expect((await refresh(server.issuer, client, refreshToken)).body.error).toBe('invalid_grant');
    expect((await refresh(server.issuer, client, successor)).body.error).toBe('invalid_grant');
    expect((await userinfo(server.issuer, String(body.access_token))).status).toBe(401);
  });

  test('never gives more scope than was allowed (4.14)', async () => {
    const { client, refreshToken } = await tokensOf('client_secret_basic');
    const answer = await refresh(server.issuer, client, refreshToken, { scope: 'openid email' });
    expect(answer.body.error).toBe('invalid_scope');
  });
});

describe('a redirect', () => {
  test('after a password was sent is 303, which takes no body along (4.12)', async () => {
    const client = await createTestClient(server.domains);
    const { login, password } = await createTestAccount(server.domains);
    const person = new Person();
    const page = await person.open(authorizationRequest(server.issuer, client.id).url);
    const csrf = /name="_csrf" value="([^"]*)"/.exec(page.html)?.[1] ?? '';
    const response = await person.request(`${page.url}/sign-in`, {
      method: 'POST',
      body: new URLSearchParams({ login, password, _csrf: csrf }),
    });
    expect(response.status).toBe(303);
    expect(response.headers.get('location')).not.toContain(password);
  });

  test('is never an answer to a request whose client nobody knows (4.11)', async () => {
    const request = authorizationRequest(server.issuer, unique('nobody'), { redirect_uri: REDIRECT_URI });
    const response = await new Person().request(request.url);
    expect({ status: response.status, location: response.headers.get('location') }).toEqual({
      status: 400,
      location: null,
    });
  });
});
