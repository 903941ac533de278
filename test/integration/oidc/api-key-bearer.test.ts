import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestApiKey, type KeySetup, setUpForKeys, type TestApiKey } from '../../harness/api-keys.ts';
import { authorizationRequest } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, post } from '../../harness/token-requests.ts';
import { basic, FORM, type RawAnswer, type RawRequest, rawRequest } from '../../security/raw-http.ts';

let server: TestServer;
let setup: KeySetup;
let key: TestApiKey;
beforeAll(async () => {
  server = await startTestServer();
  setup = await setUpForKeys(server.domains);
  const { owner, read, api } = setup;
  key = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier] });
});
afterAll(() => server.close());

/** A request for a token as a form, with whatever headers. */
function ask(input: Partial<RawRequest> & { headers: NonNullable<RawRequest['headers']> }): Promise<RawAnswer> {
  const headers = { ...FORM, accept: 'application/json', ...input.headers };
  return rawRequest(server.issuer, {
    method: 'POST',
    path: '/token',
    body: 'grant_type=client_credentials',
    ...input,
    headers,
  });
}

const outcome = ({ status, text }: RawAnswer) => ({ status, error: JSON.parse(text).error as unknown });
const REFUSED = { status: 400, error: 'invalid_request' };

test('the key as bearer gets a token, so that the refusals here mean something', async () => {
  const { status } = await ask({ headers: { authorization: `Bearer ${key.key}` } });
  expect(status).toBe(200);
});

describe('beside other client authentication it is invalid_request', () => {
  test.each<[string, () => string]>([
    ['another client’s id', () => `client_id=${setup.service.id}`],
    ['another client’s id and secret', () => `client_id=${setup.service.id}&client_secret=${setup.service.secret}`],
    ['a secret', () => `client_secret=${setup.service.secret}`],
    ['its own secret', () => `client_id=${key.id}&client_secret=${key.secret}`],
    [
      'an assertion',
      () =>
        'client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c',
    ],
    ['two ids', () => `client_id=${key.id}&client_id=${setup.service.id}`],
  ])('%s', async (_, extra) => {
    const body = `grant_type=client_credentials&${extra()}`;
    expect(outcome(await ask({ headers: { authorization: `Bearer ${key.key}` }, body }))).toEqual(REFUSED);
  });

  test('its own id beside it is no other', async () => {
    const body = `grant_type=client_credentials&client_id=${key.id}`;
    expect((await ask({ headers: { authorization: `Bearer ${key.key}` }, body })).status).toBe(200);
  });

  test('a second Authorization header, whichever comes first', async () => {
    const both = [`Bearer ${key.key}`, basic(setup.service)];
    for (const authorization of [both, both.toReversed(), [both[0] ?? '', both[0] ?? '']]) {
      expect(outcome(await ask({ headers: { authorization } }))).toEqual(REFUSED);
    }
  });
});

describe('what only looks like a key stays refused', () => {
  test.each<[string, () => string]>([
    ['a bearer that is none', () => 'Bearer something'],
    ['a prefix in capitals', () => `Bearer ${key.key.replace('tsk_', 'TSK_')}`],
    ['two keys', () => `Bearer ${key.key} ${key.key}`],
    ['two keys with a comma', () => `Bearer ${key.key}, Basic YTpi`],
    ['a key without a scheme', () => key.key],
    ['another scheme', () => `DPoP ${key.key}`],
    ['a tab', () => `Bearer\t${key.key}`],
  ])('%s', async (_, authorization) => {
    const answer = outcome(await ask({ headers: { authorization: authorization() } }));
    expect(answer).not.toMatchObject({ status: 200 });
    expect([REFUSED, { status: 401, error: 'invalid_client' }]).toContainEqual(answer);
  });

  test('a huge one is answered at once', async () => {
    const answer = await ask({ headers: { authorization: `Bearer tsk_${'a'.repeat(12_000)}` } });
    expect(outcome(answer)).toEqual({ status: 401, error: 'invalid_client' });
  });
});

describe('elsewhere a key opens nothing', () => {
  test('as bearer at /introspect and /revoke, where Basic is right', async () => {
    for (const path of ['/introspect', '/revoke']) {
      const answer = await ask({ path, headers: { authorization: `Bearer ${key.key}` }, body: `token=${key.key}` });
      expect(outcome(answer)).toEqual(REFUSED);
    }
    expect((await clientCredentials(server.issuer, key)).status).toBe(200);
  });

  test('as an access token at /userinfo', async () => {
    const response = await fetch(`${server.issuer}/userinfo`, { headers: { authorization: `Bearer ${key.key}` } });
    expect(response.status).toBe(401);
    expect((await post(`${server.issuer}/userinfo`, undefined, { access_token: key.key })).status).toBe(401);
  });

  test('as a client at /authorize it is nobody, like an id that nobody has', async () => {
    const nobody = `tsk_${'0'.repeat(16)}`;
    for (const clientId of [key.id, nobody]) {
      const { html } = await new Person().open(authorizationRequest(server.issuer, clientId).url);
      expect(html).toContain('data-error="invalid_client"');
    }
  });

  test('as a client at the sign-out', async () => {
    const { html } = await new Person().open(`${server.issuer}/logout?client_id=${key.id}`);
    expect(html).toContain('data-error="invalid_client"');
  });

  test('in the query of a request for a token', async () => {
    const answer = await ask({ path: `/token?client_id=${key.id}&client_secret=${key.secret}`, headers: {} });
    expect(answer.status).not.toBe(200);
  });
});

describe('a key has client credentials and no other grant', () => {
  test.each([
    'authorization_code',
    'refresh_token',
    'urn:ietf:params:oauth:grant-type:device_code',
    'urn:ietf:params:oauth:grant-type:token-exchange',
    'urn:ietf:params:oauth:grant-type:jwt-bearer',
    'password',
    'implicit',
  ])('%s', async (grant_type) => {
    const { status, body } = await post(`${server.issuer}/token`, key, {
      grant_type,
      code: 'a',
      refresh_token: 'a',
      device_code: 'a',
      subject_token: key.key,
      subject_token_type: 'urn:tessera:token-type:api_key',
    });
    expect(status).toBe(400);
    expect(['invalid_request', 'unsupported_grant_type']).toContain(body.error);
  });

  test('and gets no refresh token and no ID token with it', async () => {
    const { body } = await clientCredentials(server.issuer, key);
    expect(Object.keys(body).sort()).toEqual(['access_token', 'expires_in', 'scope', 'token_type']);
  });
});

test('no app of another origin may use a key from a page', async () => {
  const response = await fetch(`${server.issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key.key}`, origin: 'https://app.example.com', accept: 'application/json' },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  });
  expect(response.status).toBe(400);
  expect(response.headers.get('access-control-allow-origin')).toBeNull();
});
