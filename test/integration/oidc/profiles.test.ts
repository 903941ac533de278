import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair } from 'jose';
import { createServiceClient, createTestAccount, createTestApi, createTestClient } from '../../harness/factories.ts';
import { createFapiClient, pushAs, signedBy } from '../../harness/fapi-client.ts';
import { authorizationRequest, codeFor } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, redeem } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

describe('oidc-basic', () => {
  test('asks PKCE of public clients alone', async () => {
    const person = await createTestAccount(server.domains);
    const confidential = await createTestClient(server.domains, { metadata: { profile: 'oidc-basic' } });
    const parameters = { code_challenge: undefined, code_challenge_method: undefined };
    const { code } = await codeFor(server.issuer, confidential, person, { parameters });
    expect((await redeem(server.issuer, confidential, code, '')).status).toBe(200);
    const open = await createTestClient(server.domains, {
      metadata: { profile: 'oidc-basic', token_endpoint_auth_method: 'none' },
    });
    const back = new URL((await new Person().open(authorizationRequest(server.issuer, open.id, parameters).url)).url);
    expect(back.searchParams.get('error_description')).toMatch(/PKCE/);
  });
});

describe('oauth2.1, which is what nobody needs to name', () => {
  test('refuses every response type but code, whatever the operator has named', async () => {
    await expect(
      createTestClient(server.domains, {
        metadata: { response_types: ['code id_token'], grant_types: ['authorization_code', 'implicit'] },
      }),
    ).rejects.toThrow(/profile oauth2.1 wants code alone/);
  });
});

describe('fapi2-message-signing', () => {
  test('wants the request signed, and answers in no way but signed', async () => {
    const client = await createFapiClient(server.domains, { profile: 'fapi2-message-signing' });
    expect(await pushAs(client, server.issuer)).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    const now = Math.floor(Date.now() / 1_000);
    const { url } = authorizationRequest(server.issuer, client.id);
    const requested = Object.fromEntries(new URL(url).searchParams);
    const request = (claims: object) =>
      signedBy(client, {
        iss: client.id,
        aud: server.issuer,
        iat: now,
        nbf: now,
        exp: now + 60,
        ...requested,
        ...claims,
      });
    const push = async (claims: object) =>
      pushAs(client, server.issuer, { request: await request(claims) }).then(({ status, body }) => ({
        status,
        ...body,
      }));
    expect(await push({ response_mode: 'jwt' })).toMatchObject({ status: 201 });
    expect(await push({ response_mode: 'query' })).toMatchObject({ status: 400, error: 'invalid_request' });
    expect(await push({})).toMatchObject({ status: 400, error: 'invalid_request' });
    // Message Signing, section 5.3.1: nbf and exp, no more than an hour apart.
    for (const wrong of [{ nbf: undefined }, { nbf: now - 3_700, exp: now + 60 }]) {
      expect(await push({ response_mode: 'jwt', ...wrong })).toMatchObject({
        status: 400,
        error: 'invalid_request_object',
      });
    }
  });
});

describe('a whole server that is held to a profile', () => {
  let strict: TestServer;
  beforeAll(async () => {
    strict = await startTestServer({ node: server, environment: { ISSUER: server.issuer, PROFILE: 'fapi2-security' } });
  });
  afterAll(() => strict.close());

  test('offers nothing else', async () => {
    const document = (await (await fetch(`${strict.address}/.well-known/openid-configuration`)).json()) as Record<
      string,
      unknown
    >;
    expect(document).toMatchObject({
      require_pushed_authorization_requests: true,
      response_types_supported: ['code'],
      token_endpoint_auth_methods_supported: ['private_key_jwt'],
      id_token_signing_alg_values_supported: ['ES256'],
    });
    for (const [name, values] of Object.entries(document)) {
      if (/signing_alg_values_supported$/.test(name))
        expect({ name, values }).not.toMatchObject({ values: expect.arrayContaining(['RS256']) });
    }
  });

  test('refuses registrations that do not meet it, with the rule', async () => {
    await expect(createTestClient(strict.domains)).rejects.toThrow(
      /profile fapi2-security wants private_key_jwt.*5\.3\.2\.1/,
    );
    await createFapiClient(strict.domains);
  });

  test('refuses clients from before where they are used, with the rule', async () => {
    const client = await createTestClient(server.domains);
    const { html } = await new Person().open(authorizationRequest(strict.address, client.id).url);
    expect(errorOnPage(html)).toBe('unauthorized_client');
    expect(html).toMatch(/private_key_jwt/);
    const api = await createTestApi(server.domains);
    const service = await createServiceClient(server.domains, api.scopes[0]?.scope ?? '');
    expect((await clientCredentials(server.issuer, service)).status).toBe(200);
    expect(await clientCredentials(strict.address, service)).toMatchObject({
      status: 400,
      body: { error: 'unauthorized_client', error_description: expect.stringMatching(/5\.3\.2\.1/) },
    });
  });
});

test('keys that are too small are refused where FAPI holds', async () => {
  const { publicKey } = await generateKeyPair('PS256', { modulusLength: 2_048, extractable: true });
  const jwk = (await exportJWK(publicKey)) as { n: string; kty: string };
  const small = { ...jwk, n: Buffer.from(jwk.n, 'base64url').subarray(0, 128).toString('base64url') };
  const metadata = { profile: 'fapi2-security', token_endpoint_auth_method: 'private_key_jwt' } as const;
  await expect(
    createTestClient(server.domains, { metadata: { ...metadata, jwks: { keys: [small] } } }),
  ).rejects.toThrow(/jwks: profile fapi2-security wants RSA keys of at least 2048 bits/);
});
