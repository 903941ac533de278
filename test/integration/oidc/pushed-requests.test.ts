import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeProofKeyPair, proofOf } from '../../harness/dpop.ts';
import { createTestAccount, createTestClient, REDIRECT_URI } from '../../harness/factories.ts';
import { authorizationRequest, authorize } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { push, pushedUrl } from '../../harness/pushed-requests.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { basicOf, post, redeem } from '../../harness/token-requests.ts';

let server: TestServer;
let second: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  second = await startTestServer({ node: server, environment: { ISSUER: server.issuer } });
});
afterAll(async () => {
  await second.close();
  await server.close();
});

async function pageOf(url: string) {
  const page = await new Person().open(url);
  return { status: page.response.status, error: errorOnPage(page.html), url: page.url };
}

describe('a pushed authorization request (RFC 9126)', () => {
  test('is answered with 201, a handle and how long that lives, and leads to a code', async () => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const pushed = await push(server.issuer, client);
    expect(pushed).toMatchObject({ status: 201, body: { expires_in: 60 } });
    expect(pushed.requestUri).toMatch(/^urn:ietf:params:oauth:request_uri:[\w-]{22,}$/);
    expect(pushed.headers.get('cache-control')).toMatch(/no-store/);
    const back = await authorize(new Person(), { url: pushedUrl(server.issuer, client.id, pushed.requestUri) }, person);
    expect(back.searchParams.get('state')).toBe(pushed.state);
    const { status } = await redeem(server.issuer, client, String(back.searchParams.get('code')), pushed.verifier);
    expect(status).toBe(200);
  });

  test('may be looked at more than once, and is used up by the answer', async () => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const { requestUri } = await push(server.issuer, client);
    const url = pushedUrl(server.issuer, client.id, requestUri);
    // Section 4: a reload of the page must not end the flow.
    expect((await pageOf(url)).status).toBe(200);
    const browser = new Person();
    const back = await authorize(browser, { url }, person);
    expect(back.searchParams.get('code')).toBeTruthy();
    expect(await pageOf(url)).toMatchObject({ error: 'invalid_request_uri' });
    // Nor does the one who is signed in already get a second code by it.
    expect(errorOnPage((await browser.open(url)).html)).toBe('invalid_request_uri');
  });

  test('gives one code where it is answered in several places at once', async () => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const browser = new Person();
    // Signed in and agreed, so that every visit is answered at once.
    await authorize(browser, authorizationRequest(server.issuer, client.id), person);
    for (let turn = 0; turn < 10; turn += 1) {
      const { requestUri } = await push(server.issuer, client);
      const answers = await Promise.all(
        Array.from({ length: 6 }, (_, index) => {
          const url = new URL(pushedUrl(server.issuer, client.id, requestUri));
          if (index % 2 === 1) url.port = new URL(second.address).port;
          return browser.request(url.href);
        }),
      );
      const codes = answers.filter(({ headers }) => /[?&]code=/.test(headers.get('location') ?? ''));
      expect(codes).toHaveLength(1);
    }
  });

  test('is bound to its client', async () => {
    const [client, other] = [await createTestClient(server.domains), await createTestClient(server.domains)];
    const { requestUri } = await push(server.issuer, client);
    expect((await pageOf(pushedUrl(server.issuer, other.id, requestUri))).error).toBeDefined();
    // Still the right client's to use.
    expect((await pageOf(pushedUrl(server.issuer, client.id, requestUri))).status).toBe(200);
  });

  test('says what the parameters beside its handle can not change', async () => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const { requestUri, state } = await push(server.issuer, client, { scope: 'openid email' });
    const url = `${pushedUrl(server.issuer, client.id, requestUri)}&scope=openid+profile&state=other&redirect_uri=https%3A%2F%2Fevil.example`;
    const back = await authorize(new Person(), { url }, person);
    expect(back.origin).toBe('https://app.example.com');
    expect(back.searchParams.get('state')).toBe(state);
  });

  test.each([
    [
      'a handle that nobody was given',
      'urn:ietf:params:oauth:request_uri:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
      'invalid_request_uri',
    ],
    ['an address of somebody else', 'https://attacker.example.com/request.jwt', 'request_uri_not_supported'],
    ['an address of this server', 'http://127.0.0.1:1/request.jwt', 'request_uri_not_supported'],
  ])('%s is refused', async (_title, requestUri, error) => {
    const client = await createTestClient(server.domains);
    expect(await pageOf(pushedUrl(server.issuer, client.id, requestUri))).toMatchObject({ error });
  });

  test.each([
    ['request_uri', { request_uri: 'urn:ietf:params:oauth:request_uri:x' }, 'request_uri_not_supported'],
    ['another redirect URI', { redirect_uri: 'https://attacker.example.com/' }, 'invalid_request'],
    ['another client_id', { client_id: 'another' }, 'invalid_request'],
    ['no PKCE', { code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
    ['a response type that is not offered', { response_type: 'id_token' }, 'unsupported_response_type'],
  ])('%s in it is refused at once', async (_title, parameters, error) => {
    const client = await createTestClient(server.domains);
    const { url } = authorizationRequest(server.issuer, client.id, parameters);
    const answer = await post(`${server.issuer}/par`, client, Object.fromEntries(new URL(url).searchParams));
    expect(answer.status).toBe(400);
    expect(answer.body.error).toBe(error);
    expect(answer.body).not.toHaveProperty('request_uri');
  });

  test('is nobody’s without client authentication, and a public client’s with its id', async () => {
    const client = await createTestClient(server.domains);
    const wrong = await push(server.issuer, { id: client.id, secret: 'wrong' });
    expect(wrong).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    const app = await createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } });
    expect((await push(server.issuer, app)).status).toBe(201);
  });

  test('is pushed by POST alone', async () => {
    const { status, headers } = await fetch(`${server.issuer}/par?client_id=x`);
    expect([404, 405]).toContain(status);
    expect(headers.get('location')).toBeNull();
  });

  test('expires', async () => {
    const client = await createTestClient(server.domains);
    const { requestUri } = await push(server.issuer, client);
    await server.domains.database.knex.raw(
      `update artifacts set expires_at = now() - interval '20 seconds',
        payload = jsonb_set(payload::jsonb, '{exp}', to_jsonb(floor(extract(epoch from now())) - 20))::json
        where kind = 'PushedAuthorizationRequest'`,
    );
    expect(await pageOf(pushedUrl(server.issuer, client.id, requestUri))).toMatchObject({
      error: 'invalid_request_uri',
    });
  });
});

describe('where pushing is asked for', () => {
  test('of one client, it can not do without; of others nothing is asked', async () => {
    const strict = await createTestClient(server.domains, {
      metadata: { require_pushed_authorization_requests: true },
    });
    const back = new URL((await pageOf(authorizationRequest(server.issuer, strict.id).url)).url);
    expect(back.searchParams.get('error')).toBe('invalid_request');
    expect(back.searchParams.get('error_description')).toMatch(/Pushed Authorization Request/);
    const { requestUri } = await push(server.issuer, strict);
    expect((await pageOf(pushedUrl(server.issuer, strict.id, requestUri))).status).toBe(200);
  });

  test('of all, discovery says so and nobody can do without', async () => {
    const node = await startTestServer({ environment: { REQUIRE_PUSHED_REQUESTS: 'true' } });
    try {
      const client = await createTestClient(node.domains);
      const discovered = await fetch(`${node.issuer}/.well-known/openid-configuration`);
      expect(await discovered.json()).toMatchObject({ require_pushed_authorization_requests: true });
      const back = new URL((await pageOf(authorizationRequest(node.issuer, client.id).url)).url);
      expect(back.searchParams.get('error')).toBe('invalid_request');
      const { requestUri } = await push(node.issuer, client);
      expect((await pageOf(pushedUrl(node.issuer, client.id, requestUri))).status).toBe(200);
    } finally {
      await node.close();
    }
  });
});

describe('a proof of possession at the pushed request (RFC 9449, section 10.1)', () => {
  async function pushWithProof(client: { id: string; secret: string }, proof: string, parameters = {}) {
    const { url, verifier } = authorizationRequest(server.issuer, client.id, parameters);
    const answer = await fetch(`${server.issuer}/par`, {
      method: 'POST',
      headers: {
        dpop: proof,
        authorization: basicOf(client),
      },
      body: new URLSearchParams(Object.fromEntries(new URL(url).searchParams)),
    });
    const body = (await answer.json()) as Record<string, unknown>;
    return { status: answer.status, body, verifier, nonce: answer.headers.get('dpop-nonce') ?? undefined };
  }

  test('binds the code to its key', async () => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const [pair, thief] = [await makeProofKeyPair(), await makeProofKeyPair()];
    const htu = `${server.issuer}/par`;
    const first = await pushWithProof(client, await proofOf(pair, { htu }));
    expect(first).toMatchObject({ status: 400, body: { error: 'use_dpop_nonce' } });
    const { nonce } = first;
    const redeemBy = async (key: typeof pair) => {
      const { body, verifier } = await pushWithProof(client, await proofOf(pair, { htu, nonce }));
      const url = pushedUrl(server.issuer, client.id, String(body.request_uri));
      const code = String((await authorize(new Person(), { url }, person)).searchParams.get('code'));
      const answer = await fetch(`${server.issuer}/token`, {
        method: 'POST',
        headers: {
          dpop: await proofOf(key, { htu: `${server.issuer}/token`, nonce }),
          authorization: basicOf(client),
        },
        body: new URLSearchParams({
          grant_type: 'authorization_code',
          code,
          code_verifier: verifier,
          redirect_uri: REDIRECT_URI,
        }),
      });
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
    };
    expect(await redeemBy(thief)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect(await redeemBy(pair)).toMatchObject({ status: 200, body: { token_type: 'DPoP' } });
  });

  test('must fit the thumbprint that the request names', async () => {
    const client = await createTestClient(server.domains);
    const pair = await makeProofKeyPair();
    const htu = `${server.issuer}/par`;
    const { nonce } = await pushWithProof(client, await proofOf(pair, { htu }));
    const answer = await pushWithProof(client, await proofOf(pair, { htu, nonce }), { dpop_jkt: 'A'.repeat(43) });
    expect(answer.status).toBe(400);
    expect(answer.body).not.toHaveProperty('request_uri');
  });
});
