/** What the plans for FAPI 2.0 Security Profile look at, of tokens and proofs. One test per line. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeProofKeyPair, proofOf } from '../harness/dpop.ts';
import { createTestAccount, unique } from '../harness/factories.ts';
import { askAs, createFapiClient, type FapiClient, pushAs, redeemAs, signedBy } from '../harness/fapi-client.ts';
import { authorize } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { pushedUrl } from '../harness/pushed-requests.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
let client: FapiClient;
let person: Awaited<ReturnType<typeof createTestAccount>>;
beforeAll(async () => {
  // Longer than the profile lets a code live, so that it is the profile that cuts it.
  server = await startTestServer({ environment: { AUTHORIZATION_CODE_TTL: '600' } });
  client = await createFapiClient(server.domains);
  person = await createTestAccount(server.domains);
});
afterAll(() => server.close());

async function code(parameters = {}) {
  const { requestUri, verifier } = await pushAs(client, server.issuer, parameters);
  const back = await authorize(new Person(), { url: pushedUrl(server.issuer, client.id, requestUri) }, person);
  return { code: String(back.searchParams.get('code')), verifier };
}

async function tokens(parameters = {}) {
  const { status, body } = await redeemAs(client, server.issuer, await code(parameters));
  expect(status).toBe(200);
  return body as { access_token: string; token_type: string; refresh_token?: string };
}

/** Userinfo, the resource that is at hand, with a nonce. */
async function resource(
  accessToken: string,
  proof: (nonce: string | undefined) => Promise<string | undefined>,
  scheme = 'DPoP',
) {
  const ask = async (given: string | undefined) =>
    fetch(`${server.issuer}/userinfo`, {
      headers: { authorization: `${scheme} ${accessToken}`, ...(given && { dpop: given }) },
    });
  const first = await ask(await proof(undefined));
  const nonce = first.headers.get('dpop-nonce') ?? undefined;
  return nonce === undefined ? first : ask(await proof(nonce));
}

const htu = () => `${server.issuer}/userinfo`;
const proofFor =
  (accessToken: string, claims: object = {}) =>
  (nonce: string | undefined) =>
    proofOf(client.proofKey, { htu: htu(), htm: 'GET', accessToken, nonce, ...claims });

/** A proof by hand, for claims that `proofOf` does not take. */
async function oddProof(claims: Record<string, unknown>): Promise<string> {
  const { exportJWK } = await import('jose');
  const now = Math.floor(Date.now() / 1_000);
  return signedBy(
    { alg: 'ES256', privateKey: client.proofKey.privateKey },
    { jti: unique('jti'), iat: now, ...claims },
    { typ: 'dpop+jwt', jwk: await exportJWK(client.proofKey.publicKey) },
  );
}

test('codes live 60 s at the most', async () => {
  await code();
  const { rows } = await server.domains.database.knex.raw(
    `select payload from artifacts where kind = 'AuthorizationCode'`,
  );
  for (const { payload } of rows) {
    const { exp, iat } = typeof payload === 'string' ? JSON.parse(payload) : payload;
    expect(exp - iat).toBeLessThanOrEqual(60);
  }
  expect(rows.length).toBeGreaterThan(0);
});

test('a code is good once, and what came of it ends with its second use', async () => {
  const request = await code();
  const first = await redeemAs(client, server.issuer, request);
  expect(first.status).toBe(200);
  expect(await redeemAs(client, server.issuer, request)).toMatchObject({
    status: 400,
    body: { error: 'invalid_grant' },
  });
  expect((await resource(String(first.body.access_token), proofFor(String(first.body.access_token)))).status).toBe(401);
});

test('a code of one client is not another’s', async () => {
  const other = await createFapiClient(server.domains);
  expect(await redeemAs(other, server.issuer, await code())).toMatchObject({ body: { error: 'invalid_grant' } });
});

test('tokens are sender-constrained: without a proof there is none', async () => {
  expect((await tokens()).token_type).toBe('DPoP');
  const { status } = await redeemAs(client, server.issuer, await code(), { withoutProof: true });
  expect(status).toBe(400);
});

test('tokens have at least 128 bits', async () => {
  const { access_token } = await tokens();
  expect(Buffer.from(access_token, 'base64url').length * 8).toBeGreaterThanOrEqual(128);
});

test('refresh tokens are bound to their client, and not rotated', async () => {
  const { refresh_token = '' } = await tokens({ scope: 'openid offline_access', prompt: 'consent' });
  const renew = (by: FapiClient) => askAs(by, server.issuer, { grant_type: 'refresh_token', refresh_token });
  const { status, body } = await renew(client);
  expect({ status, same: body.refresh_token ?? refresh_token }).toEqual({ status: 200, same: refresh_token });
  expect((await renew(client)).status).toBe(200);
  const other = await createFapiClient(server.domains);
  expect(await renew(other)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
});

describe('a proof at the token endpoint', () => {
  const redeemWith = async (claims: Record<string, unknown>) => {
    const request = await code();
    // The first refusal gives the nonce.
    const refused = await redeemAs(client, server.issuer, request, {
      proof: await oddProof({ htm: 'POST', htu: `${server.issuer}/token` }),
    });
    const nonce = refused.headers.get('dpop-nonce') ?? undefined;
    return redeemAs(client, server.issuer, request, {
      proof: await oddProof({ htm: 'POST', htu: `${server.issuer}/token`, nonce, ...claims }),
    });
  };
  const now = () => Math.floor(Date.now() / 1_000);

  test('10 s ahead or behind is taken', async () => {
    expect((await redeemWith({ iat: now() - 10 })).status).toBe(200);
    expect((await redeemWith({ iat: now() + 10 })).status).toBe(200);
  });

  test('more than 5 min ahead or behind is refused', async () => {
    expect(await redeemWith({ iat: now() - 310 })).toMatchObject({
      status: 400,
      body: { error: 'invalid_dpop_proof' },
    });
    expect(await redeemWith({ iat: now() + 310 })).toMatchObject({
      status: 400,
      body: { error: 'invalid_dpop_proof' },
    });
  });

  test.each([
    ['htu', { htu: 'https://other.example.com/token' }],
    ['htm', { htm: 'GET' }],
    ['jti that is missing', { jti: undefined }],
    ['iat that is missing', { iat: undefined }],
  ])('with a wrong %s is refused', async (_title, claims) => {
    expect(await redeemWith(claims)).toMatchObject({ status: 400, body: { error: 'invalid_dpop_proof' } });
  });

  test('with a jti that was used is refused', async () => {
    const jti = unique('jti');
    expect((await redeemWith({ jti })).status).toBe(200);
    const again = await redeemWith({ jti });
    expect(again.status).toBe(400);
    expect(['invalid_dpop_proof', 'invalid_grant']).toContain(again.body.error);
  });

  test('without a nonce is answered with one', async () => {
    const answer = await redeemAs(client, server.issuer, await code(), {
      proof: await oddProof({ htm: 'POST', htu: `${server.issuer}/token` }),
    });
    expect(answer).toMatchObject({ status: 400, body: { error: 'use_dpop_nonce' } });
    expect(answer.headers.get('dpop-nonce')).toBeTruthy();
  });
});

describe('a proof at a resource', () => {
  let accessToken: string;
  beforeAll(async () => {
    accessToken = (await tokens()).access_token;
  });

  test('is good', async () => {
    expect((await resource(accessToken, proofFor(accessToken))).status).toBe(200);
  });

  test('is asked for: Bearer in its place is a downgrade and refused', async () => {
    expect((await resource(accessToken, async () => undefined, 'Bearer')).status).toBe(401);
    expect((await resource(accessToken, proofFor(accessToken), 'Bearer')).status).toBe(400);
  });

  test.each([
    ['htu', { htu: 'https://other.example.com/userinfo' }],
    ['htm', { htm: 'POST' }],
    ['ath', { accessToken: 'another token' }],
  ])('with a wrong %s is refused', async (_title, claims) => {
    expect((await resource(accessToken, proofFor(accessToken, claims))).status).toBe(401);
  });

  test('by another key is refused', async () => {
    const thief = await makeProofKeyPair();
    const by = (nonce: string | undefined) => proofOf(thief, { htu: htu(), htm: 'GET', accessToken, nonce });
    expect((await resource(accessToken, by)).status).toBe(401);
  });

  test('with a jti that was used is refused', async () => {
    const jti = unique('jti');
    expect((await resource(accessToken, proofFor(accessToken, { jti }))).status).toBe(200);
    expect((await resource(accessToken, proofFor(accessToken, { jti }))).status).toBe(401);
  });
});
