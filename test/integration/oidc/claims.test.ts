import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createTestAccount, createTestApi, createTestClient, type TestClient } from '../../harness/factories.ts';
import { codeFor, signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { redeem, revoke, serviceToken, userinfo } from '../../harness/token-requests.ts';

const PROFILE = {
  name: 'Ada Lovelace',
  givenName: 'Ada',
  familyName: 'Lovelace',
  birthdate: '1815-12-10',
  locale: 'en-GB',
  zoneinfo: 'Europe/London',
  website: 'https://ada.example.com/',
  phoneNumber: '+44 20 7946 0000',
  isPhoneNumberVerified: true,
  address: { streetAddress: '12 St James’s Square', locality: 'London', country: 'UK' },
};

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  client = await createTestClient(server.domains);
});
afterAll(() => server.close());

async function tokensFor(scope: string, parameters: Record<string, string> = {}) {
  const person = await createTestAccount(server.domains, PROFILE);
  const tokens = await signInForTokens(server.issuer, client, person, { parameters: { scope, ...parameters } });
  return { person, tokens };
}

describe('a scope brings its claims and no others', () => {
  test.each([
    ['openid', []],
    [
      'openid profile',
      ['birthdate', 'family_name', 'given_name', 'locale', 'name', 'updated_at', 'website', 'zoneinfo'],
    ],
    ['openid email', ['email', 'email_verified']],
    ['openid phone', ['phone_number', 'phone_number_verified']],
    ['openid address', ['address']],
  ])('%s', async (scope, names) => {
    const { person, tokens } = await tokensFor(scope);
    const { status, body } = await userinfo(server.issuer, tokens.access_token);
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual([...names, 'sub'].sort());
    expect(body.sub).toBe(person.account.id);
    // Claims come from userinfo; the ID token says who, how and when.
    const idToken = decodeJwt(tokens.id_token ?? '');
    for (const name of names) expect(idToken).not.toHaveProperty(name);
  });

  test('their values are those of the account, as they are now', async () => {
    const { person, tokens } = await tokensFor('openid profile email phone address');
    const before = await userinfo(server.issuer, tokens.access_token);
    expect(before.body).toMatchObject({
      name: 'Ada Lovelace',
      given_name: 'Ada',
      birthdate: '1815-12-10',
      email: person.login,
      email_verified: true,
      phone_number: '+44 20 7946 0000',
      phone_number_verified: true,
      address: { street_address: '12 St James’s Square', locality: 'London', country: 'UK' },
    });
    await server.domains.accounts.update(person.account.id, { profile: { name: 'Ada King' } });
    expect((await userinfo(server.issuer, tokens.access_token)).body.name).toBe('Ada King');
  });
});

describe('the claims parameter', () => {
  test('brings single claims to the ID token and to userinfo', async () => {
    const claims = JSON.stringify({
      id_token: { name: { essential: true }, auth_time: { essential: true } },
      userinfo: { phone_number: null },
    });
    const { tokens } = await tokensFor('openid', { claims });
    expect(decodeJwt(tokens.id_token ?? '')).toMatchObject({ name: 'Ada Lovelace', auth_time: expect.any(Number) });
    const { body } = await userinfo(server.issuer, tokens.access_token);
    expect(Object.keys(body).sort()).toEqual(['phone_number', 'sub']);
  });

  test('is refused where it is no JSON object', async () => {
    for (const claims of ['nonsense', '[]', '1', '{"id_token":1}']) {
      await expect(tokensFor('openid', { claims })).rejects.toThrow(/error=invalid_request/);
    }
  });
});

describe('userinfo', () => {
  test('takes the token in the header of a GET or a POST, or in the body of a POST', async () => {
    const { person, tokens } = await tokensFor('openid');
    const url = `${server.issuer}/userinfo`;
    const headers = { authorization: `Bearer ${tokens.access_token}` };
    const body = new URLSearchParams({ access_token: tokens.access_token });
    for (const init of [{ headers }, { method: 'POST', headers }, { method: 'POST', body }]) {
      const response = await fetch(url, init);
      expect(response.status).toBe(200);
      expect(response.headers.get('cache-control')).toContain('no-store');
      expect(await response.json()).toEqual({ sub: person.account.id });
    }
  });

  test('refuses a token that comes twice, or in the query, where logs would keep it', async () => {
    const { tokens } = await tokensFor('openid');
    const url = `${server.issuer}/userinfo`;
    const twice = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${tokens.access_token}` },
      body: new URLSearchParams({ access_token: tokens.access_token }),
    });
    expect(twice.status).toBe(400);
    expect(await twice.json()).toMatchObject({ error: 'invalid_request' });
    const inQuery = await fetch(`${url}?access_token=${tokens.access_token}`);
    expect(inQuery.status).toBe(400);
  });

  test('refuses a token without openid, one of a client itself and one of an API', async () => {
    const api = await createTestApi(server.domains);
    const scope = api.scopes[0]?.scope ?? '';
    const apiClient = await createTestClient(server.domains, {
      metadata: { scope: `openid ${scope}`, grant_types: ['authorization_code', 'client_credentials'] },
    });
    const person = await createTestAccount(server.domains, PROFILE);
    const { code, verifier } = await codeFor(server.issuer, client, person, {
      parameters: { scope: 'email', nonce: undefined },
    });
    const { body: withoutOpenid } = await redeem(server.issuer, client, code, verifier);
    const ofApi = await signInForTokens(server.issuer, apiClient, person, {
      parameters: { scope: `openid ${scope}`, resource: api.identifier },
      redemption: { resource: api.identifier },
    });
    const ofClient = await serviceToken(server.issuer, apiClient, { scope });
    for (const token of [String(withoutOpenid.access_token), ofApi.access_token, ofClient]) {
      const { status, headers } = await userinfo(server.issuer, token);
      expect([401, 403]).toContain(status);
      expect(headers.get('www-authenticate')).toMatch(/error="(invalid_token|insufficient_scope)"/);
    }
  });

  test.each(['nonsense', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.', 'a'.repeat(43), '%00'])(
    'answers 401 with WWW-Authenticate to the token %s',
    async (token) => {
      const { status, headers, body } = await userinfo(server.issuer, token);
      expect(status).toBe(401);
      expect(body.error).toBe('invalid_token');
      expect(headers.get('www-authenticate')).toMatch(/^Bearer .*error="invalid_token"/);
    },
  );

  test('answers to a request without any token how to come back', async () => {
    const response = await fetch(`${server.issuer}/userinfo`);
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toMatch(/^Bearer realm=/);
  });

  test('refuses a token that was revoked, of an account that was disabled, of a client that is gone', async () => {
    const revoked = await tokensFor('openid');
    await revoke(server.issuer, client, revoked.tokens.access_token);
    expect((await userinfo(server.issuer, revoked.tokens.access_token)).status).toBe(401);

    const disabled = await tokensFor('openid');
    await server.domains.accounts.disable(disabled.person.account.id);
    expect((await userinfo(server.issuer, disabled.tokens.access_token)).status).toBe(401);

    const shortLived = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const tokens = await signInForTokens(server.issuer, shortLived, person);
    await server.domains.clients.delete(shortLived.id);
    expect((await userinfo(server.issuer, tokens.access_token)).status).toBe(401);
  });

  test('refuses an expired token', async () => {
    const [expired, alive] = [await tokensFor('openid'), await tokensFor('openid')];
    const past = Math.floor(Date.now() / 1000) - 60;
    await server.domains.database.knex.raw(
      `update artifacts set payload = (payload::jsonb || jsonb_build_object('exp', ?::bigint))::json
       where kind = 'AccessToken' and payload->>'accountId' = ?`,
      [past, expired.person.account.id],
    );
    expect((await userinfo(server.issuer, expired.tokens.access_token)).status).toBe(401);
    expect((await userinfo(server.issuer, alive.tokens.access_token)).status).toBe(200);
  });
});
