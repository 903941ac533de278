/** What the plans for FAPI 2.0 Security Profile look at, of requests for authorization. One test per line. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair } from 'jose';
import { makeProofKeyPair, proofOf } from '../harness/dpop.ts';
import { createTestAccount, createTestClient, REDIRECT_URI } from '../harness/factories.ts';
import { createFapiClient, type FapiClient, pushAs, redeemAs } from '../harness/fapi-client.ts';
import { authorizationRequest, authorize } from '../harness/flows.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { pushedUrl } from '../harness/pushed-requests.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
let client: FapiClient;
let other: FapiClient;
let person: Awaited<ReturnType<typeof createTestAccount>>;
beforeAll(async () => {
  server = await startTestServer();
  [client, other] = [await createFapiClient(server.domains), await createFapiClient(server.domains)];
  person = await createTestAccount(server.domains);
});
afterAll(() => server.close());

const push = (parameters = {}, options = {}) => pushAs(client, server.issuer, parameters, options);
const urlOf = (requestUri: string, clientId = client.id) => pushedUrl(server.issuer, clientId, requestUri);
const now = () => Math.floor(Date.now() / 1_000);

async function codeOf(requestUri: string): Promise<URL> {
  return authorize(new Person(), { url: urlOf(requestUri) }, person);
}

describe('pushed authorization requests', () => {
  test('are answered with 201 and expires_in', async () => {
    expect(await push()).toMatchObject({ status: 201, body: { expires_in: expect.any(Number) } });
  });

  test('are asked for: a request without one is refused', async () => {
    const { url } = authorizationRequest(server.issuer, client.id);
    const page = await new Person().open(url);
    expect(errorOnPage(page.html) ?? new URL(page.url).searchParams.get('error')).toBe('invalid_request');
  });

  test('give a request_uri that is bound to its client', async () => {
    const { requestUri } = await push();
    expect(errorOnPage((await new Person().open(urlOf(requestUri, other.id))).html)).toMatch(/^invalid_request/);
  });

  test('give a request_uri that expires', async () => {
    const { requestUri } = await push();
    await server.domains.database.knex.raw(
      `update artifacts set payload = jsonb_set(payload::jsonb, '{exp}', to_jsonb(0))::json where kind = 'PushedAuthorizationRequest'`,
    );
    expect(errorOnPage((await new Person().open(urlOf(requestUri))).html)).toBe('invalid_request_uri');
  });

  test('are used up at completion and not at first visit', async () => {
    const { requestUri } = await push();
    expect((await new Person().open(urlOf(requestUri))).html).toContain('name="password"');
    expect((await codeOf(requestUri)).searchParams.get('code')).toBeTruthy();
    expect(errorOnPage((await new Person().open(urlOf(requestUri))).html)).toBe('invalid_request_uri');
  });

  test('refuse request_uri in them', async () => {
    const { requestUri } = await push();
    expect((await push({ request_uri: requestUri })).status).toBe(400);
  });

  test('are not taken by GET', async () => {
    const { status } = await fetch(`${server.issuer}/par?${new URLSearchParams({ client_id: client.id })}`);
    expect([404, 405]).toContain(status);
  });

  test('need the client to authenticate', async () => {
    const { url } = authorizationRequest(server.issuer, client.id);
    const answer = await fetch(`${server.issuer}/par`, { method: 'POST', body: new URL(url).searchParams });
    expect([400, 401]).toContain(answer.status);
    expect(await answer.json()).not.toHaveProperty('request_uri');
  });

  test('need redirect_uri, registered and to the letter', async () => {
    expect((await push({ redirect_uri: undefined })).status).toBe(400);
    expect((await push({ redirect_uri: `${REDIRECT_URI}?x=1` })).status).toBe(400);
  });
});

describe('PKCE', () => {
  test('is by S256 alone: none and plain are refused', async () => {
    const none = { code_challenge: undefined, code_challenge_method: undefined };
    for (const parameters of [none, { code_challenge_method: 'plain' }]) {
      expect(await push(parameters)).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    }
  });

  test('wants the verifier', async () => {
    const { requestUri } = await push();
    const code = String((await codeOf(requestUri)).searchParams.get('code'));
    expect(await redeemAs(client, server.issuer, { code, verifier: 'A'.repeat(43) })).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
  });
});

describe('the response', () => {
  test('is a code alone: every other response type is refused', async () => {
    for (const response_type of ['id_token', 'code id_token', 'id_token token', 'token']) {
      expect((await push({ response_type })).status).toBe(400);
    }
  });

  test('bears iss, and the metadata say so', async () => {
    const back = await codeOf((await push()).requestUri);
    expect(back.searchParams.get('iss')).toBe(server.issuer);
    const document = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
    expect(document).toMatchObject({ authorization_response_iss_parameter_supported: true });
  });

  test('is access_denied where the person says no', async () => {
    const browser = new Person();
    const signIn = await browser.open(urlOf((await push({ prompt: 'consent' })).requestUri));
    const consent = await browser.submit(signIn, { login: person.login, password: person.password }, '/sign-in');
    const back = new URL((await browser.submit(consent, { decision: 'deny' }, '/consent')).url);
    expect(back.searchParams.get('error')).toBe('access_denied');
    expect(back.searchParams.get('iss')).toBe(server.issuer);
  });

  test('comes by a redirect that changes a POST into a GET', async () => {
    const browser = new Person();
    const signIn = await browser.open(urlOf((await push()).requestUri));
    const statuses: number[] = [];
    const request = browser.request.bind(browser);
    browser.request = async (...input) => {
      const response = await request(...input);
      statuses.push(response.status);
      return response;
    };
    await browser.submit(signIn, { login: person.login, password: person.password }, '/sign-in');
    expect(statuses.filter((status) => status === 307 || status === 308)).toEqual([]);
    expect(statuses[0]).toBe(303);
  });
});

describe('an assertion', () => {
  test.each([
    ['a list with the issuer', (issuer: string) => [issuer]],
    ['the token URL', (issuer: string) => `${issuer}/token`],
    ['the PAR URL', (issuer: string) => `${issuer}/par`],
    ['another issuer', () => 'https://other.example.com'],
  ])('whose aud is %s is refused', async (_title, aud) => {
    expect(await push({}, { claims: { aud: aud(server.issuer) } })).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    });
  });

  test('by RS256 is refused', async () => {
    const weak = await createFapiClient(server.domains, {}, 'RS256');
    expect(await pushAs(weak, server.issuer)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test.each(['PS256', 'ES256', 'EdDSA'])('by %s is taken', async (alg) => {
    const strong = await createFapiClient(server.domains, {}, alg);
    expect((await pushAs(strong, server.issuer)).status).toBe(201);
  });

  test('without sub, or about somebody else, is refused', async () => {
    for (const sub of [undefined, 'somebody']) {
      const { status, body } = await push({}, { claims: { sub } });
      expect([400, 401]).toContain(status);
      expect(body).not.toHaveProperty('request_uri');
    }
  });

  test('whose nbf or iat is 8 s ahead is taken, and over 60 s ahead is refused', async () => {
    for (const name of ['nbf', 'iat']) {
      expect((await push({}, { claims: { [name]: now() + 8 } })).status).toBe(201);
      expect((await push({}, { claims: { [name]: now() + 75, exp: now() + 200 } })).status).toBe(401);
    }
  });

  test('is good once', async () => {
    const claims = { jti: `once-${now()}` };
    expect((await push({}, { claims })).status).toBe(201);
    expect((await push({}, { claims })).status).toBe(401);
  });

  test('that has expired is refused', async () => {
    expect((await push({}, { claims: { exp: now() - 60 } })).status).toBe(401);
  });
});

describe('dpop_jkt and the proof at PAR', () => {
  test('bind the code to the key', async () => {
    const htu = `${server.issuer}/par`;
    const { headers } = await push({}, { proof: await proofOf(client.proofKey, { htu }) });
    const proof = await proofOf(client.proofKey, { htu, nonce: headers.get('dpop-nonce') ?? undefined });
    const pushed = await push({}, { proof });
    const code = String((await codeOf(pushed.requestUri)).searchParams.get('code'));
    const thief = await makeProofKeyPair();
    expect(
      await redeemAs(client, server.issuer, { code, verifier: pushed.verifier }, { proofKey: thief }),
    ).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
  });

  test('must be about the same key', async () => {
    const htu = `${server.issuer}/par`;
    const { headers } = await push({}, { proof: await proofOf(client.proofKey, { htu }) });
    const nonce = headers.get('dpop-nonce') ?? undefined;
    const proof = await proofOf(client.proofKey, { htu, nonce });
    expect((await push({ dpop_jkt: 'A'.repeat(43) }, { proof })).status).toBe(400);
  });
});

describe('a client of the profile', () => {
  const refused = async (metadata: Record<string, unknown>) =>
    createTestClient(server.domains, { metadata: { profile: 'fapi2-security', ...metadata } }).then(
      () => undefined,
      (error: Error) => error.message,
    );

  test('gets what the profile demands switched on', async () => {
    const found = await server.domains.clients.find(client.id);
    expect(found?.metadata).toMatchObject({
      require_pushed_authorization_requests: true,
      dpop_bound_access_tokens: true,
      require_pkce: true,
      id_token_signed_response_alg: 'ES256',
    });
  });

  test('is refused what the profile excludes, with the rule', async () => {
    const { publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one' }] };
    const strong = { token_endpoint_auth_method: 'private_key_jwt', jwks };
    const cases: [Record<string, unknown>, RegExp][] = [
      [{}, /token_endpoint_auth_method: profile fapi2-security wants private_key_jwt.*5\.3\.2\.1/],
      [
        { ...strong, require_pushed_authorization_requests: false },
        /require_pushed_authorization_requests: .*5\.3\.2\.2/,
      ],
      [{ ...strong, dpop_bound_access_tokens: false }, /dpop_bound_access_tokens: .*5\.3\.2\.1/],
      [{ ...strong, require_pkce: false }, /require_pkce: .*5\.3\.2\.2/],
      [{ ...strong, id_token_signed_response_alg: 'RS256' }, /id_token_signed_response_alg: .*5\.4\.1/],
      [
        { ...strong, redirect_uris: ['http://127.0.0.1/callback'], application_type: 'native' },
        /redirect_uris: .*https alone/,
      ],
      [
        { ...strong, response_types: ['code id_token'], grant_types: ['authorization_code', 'implicit'] },
        /response_types: .*code alone/,
      ],
    ];
    for (const [metadata, reason] of cases) expect(await refused(metadata)).toMatch(reason);
  });
});
