import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { createTestAccount, createTestClient, REDIRECT_URI, unique } from '../../harness/factories.ts';
import { authorizationRequest, authorize, pkce } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { pushedUrl } from '../../harness/pushed-requests.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { post, redeem } from '../../harness/token-requests.ts';

let server: TestServer;
let pair: Awaited<ReturnType<typeof generateKeyPair>>;
let jwks: { keys: { kty: string; [member: string]: unknown }[] };
beforeAll(async () => {
  server = await startTestServer();
  pair = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(pair.publicKey);
  jwks = { keys: [{ ...jwk, kty: String(jwk.kty), kid: 'signs', alg: 'ES256', use: 'sig' }] };
});
afterAll(() => server.close());

const signingClient = (metadata: Record<string, unknown> = {}) =>
  createTestClient(server.domains, { metadata: { jwks, ...metadata } });

function claimsOf(clientId: string, claims: Record<string, unknown> = {}) {
  const { challenge, verifier } = pkce();
  const now = Math.floor(Date.now() / 1_000);
  const all: Record<string, unknown> = {
    iss: clientId,
    aud: server.issuer,
    iat: now,
    exp: now + 60,
    jti: randomBytes(8).toString('hex'),
    client_id: clientId,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    state: 'signed-state',
    nonce: unique('nonce'),
    code_challenge: challenge,
    code_challenge_method: 'S256',
    ...claims,
  };
  const payload = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as JWTPayload;
  return { payload, verifier };
}

const sign = (payload: JWTPayload, key = pair.privateKey, header = { alg: 'ES256', kid: 'signs' }) =>
  new SignJWT(payload).setProtectedHeader(header).sign(key);

function urlOf(clientId: string, request: string, beside: Record<string, string> = {}): string {
  const parameters = { client_id: clientId, response_type: 'code', scope: 'openid', ...beside, request };
  return `${server.issuer}/authorize?${new URLSearchParams(parameters)}`;
}

/** The error that a request ends with at once, on a page or back at the app. */
async function refusalOf(url: string): Promise<string | undefined> {
  const page = await new Person().open(url);
  return errorOnPage(page.html) ?? new URL(page.url).searchParams.get('error') ?? undefined;
}

describe('a signed authorization request (RFC 9101)', () => {
  test('is honoured, and nothing beside it counts', async () => {
    const client = await signingClient();
    const person = await createTestAccount(server.domains);
    const { payload, verifier } = claimsOf(client.id);
    const url = urlOf(client.id, await sign(payload), {
      state: 'unsigned',
      redirect_uri: 'https://attacker.example.com/',
    });
    const back = await authorize(new Person(), { url }, person);
    expect(back.origin + back.pathname).toBe(REDIRECT_URI);
    expect(back.searchParams.get('state')).toBe('signed-state');
    expect((await redeem(server.issuer, client, String(back.searchParams.get('code')), verifier)).status).toBe(200);
  });

  test('may be pushed', async () => {
    const client = await signingClient();
    const person = await createTestAccount(server.domains);
    const { payload, verifier } = claimsOf(client.id);
    const pushed = await post(`${server.issuer}/par`, client, { request: await sign(payload) });
    expect(pushed.status).toBe(201);
    const url = pushedUrl(server.issuer, client.id, String(pushed.body.request_uri));
    const back = await authorize(new Person(), { url }, person);
    expect(back.searchParams.get('state')).toBe('signed-state');
    expect((await redeem(server.issuer, client, String(back.searchParams.get('code')), verifier)).status).toBe(200);
  });

  test('is all that a client gets through with that is registered to sign', async () => {
    const client = await signingClient({ require_signed_request_object: true });
    expect(await refusalOf(authorizationRequest(server.issuer, client.id).url)).toBe('invalid_request');
    const pushed = await post(
      `${server.issuer}/par`,
      client,
      Object.fromEntries(new URL(authorizationRequest(server.issuer, client.id).url).searchParams),
    );
    expect(pushed).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    expect(await refusalOf(urlOf(client.id, await sign(claimsOf(client.id).payload)))).toBeUndefined();
  });

  test.each([
    ['of another issuer', { iss: 'another' }],
    ['for another server', { aud: 'https://other.example.com' }],
    ['that has expired', { exp: Math.floor(Date.now() / 1_000) - 120 }],
    ['that is not valid yet', { nbf: Math.floor(Date.now() / 1_000) + 120 }],
    ['of another client', { client_id: 'another' }],
    ['with a request in it', { request: 'eyJ' }],
    ['with a request_uri in it', { request_uri: 'urn:ietf:params:oauth:request_uri:x' }],
  ])('%s is refused', async (_title, claims) => {
    const client = await signingClient();
    expect(await refusalOf(urlOf(client.id, await sign(claimsOf(client.id, claims).payload)))).toBe(
      'invalid_request_object',
    );
  });

  test('can not be forged: not by another key, none, the public key as a secret, or a changed claim', async () => {
    const client = await signingClient();
    const { payload } = claimsOf(client.id);
    const stranger = await generateKeyPair('ES256');
    const hmac = (secret: string) =>
      new SignJWT(payload).setProtectedHeader({ alg: 'HS256', kid: 'signs' }).sign(new TextEncoder().encode(secret));
    const [header, , signature] = (await sign(payload)).split('.');
    const changed = Buffer.from(JSON.stringify({ ...payload, scope: 'openid email' })).toString('base64url');
    const forged = {
      stranger: await sign(payload, stranger.privateKey),
      unsigned: new UnsecuredJWT(payload).encode(),
      publicKey: await hmac(await exportSPKI(pair.publicKey)),
      secret: await hmac(client.secret),
      changed: `${header}.${changed}.${signature}`,
      garbage: 'a.b.c',
    };
    for (const [kind, request] of Object.entries(forged)) {
      expect({ kind, refusal: await refusalOf(urlOf(client.id, request)) }).toEqual({
        kind,
        refusal: 'invalid_request_object',
      });
    }
  });

  test('signed with the digest that the database has of the secret is refused', async () => {
    const client = await createTestClient(server.domains);
    const { rows } = await server.domains.database.knex.raw(`select * from client_secrets where client_id = ?`, [
      client.id,
    ]);
    const digest = (Object.values(rows[0]) as unknown[]).find((value) => Buffer.isBuffer(value)) as Buffer;
    const { payload } = claimsOf(client.id);
    for (const secret of [digest, Buffer.from(digest.toString('base64url')), Buffer.from(digest.toString('hex'))]) {
      const request = await new SignJWT(payload).setProtectedHeader({ alg: 'HS256' }).sign(secret);
      expect(await refusalOf(urlOf(client.id, request))).toBe('invalid_request_object');
    }
  });

  test('is in the one algorithm that is registered', async () => {
    const client = await signingClient({ request_object_signing_alg: 'PS256' });
    expect(await refusalOf(urlOf(client.id, await sign(claimsOf(client.id).payload)))).toBe('invalid_request_object');
  });
});

test('discovery offers signed requests by value, and none by reference', async () => {
  const document = (await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()) as Record<
    string,
    unknown
  >;
  expect(document).toMatchObject({ request_parameter_supported: true, request_uri_parameter_supported: false });
  const algorithms = document.request_object_signing_alg_values_supported as string[];
  expect(algorithms).toContain('ES256');
  expect(algorithms.filter((name) => /^HS|none/.test(name))).toEqual([]);
});
