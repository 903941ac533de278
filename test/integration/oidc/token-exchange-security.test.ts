import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { base64url, decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { makeProofKeyPair, type ProofKeyPair, proofOf, requestWithProof } from '../../harness/dpop.ts';
import { createServiceClient, createTestClient } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import {
  ACCESS_TOKEN_TYPE,
  createLandscape,
  exchange,
  exchanged,
  JWT_TYPE,
  type Landscape,
  signInToApp,
  TOKEN_EXCHANGE,
} from '../../harness/token-exchange.ts';
import { type Client, introspect, isActive, serviceToken } from '../../harness/token-requests.ts';

let server: TestServer;
let issuer: string;
beforeAll(async () => {
  server = await startTestServer();
  ({ issuer } = server);
});
afterAll(() => server.close());

const REFUSED = {
  status: 400,
  body: { error: 'invalid_request', error_description: 'subject_token is invalid' },
};

/** As subject and as actor, in either type: nothing is made of it, and nothing told about it. */
async function expectRefused(on: Landscape, token: string, client: Client = on.gateway): Promise<void> {
  const resource = on.inner.identifier;
  for (const subject_token_type of [ACCESS_TOKEN_TYPE, JWT_TYPE]) {
    const { status, body } = await exchange(issuer, client, token, { resource, subject_token_type });
    expect({ status, body }).toEqual(REFUSED);
  }
  const own = await serviceToken(issuer, on.gateway, { resource: on.outer.identifier });
  const acting = { resource, actor_token: token, actor_token_type: ACCESS_TOKEN_TYPE };
  const { status, body } = await exchange(issuer, on.gateway, own, acting);
  expect({ status, body }).toEqual({
    status: 400,
    body: { error: 'invalid_request', error_description: 'actor_token is invalid' },
  });
}

describe('a bad token is refused, without a word on why', () => {
  let on: Landscape;
  let token: string;
  beforeAll(async () => {
    on = await createLandscape(server.domains, { outer: 'jwt', inner: 'jwt' });
    // The gateway's own, which is good for either place.
    token = await serviceToken(issuer, on.gateway, { resource: on.outer.identifier });
  });

  test('while a good one is exchanged, so that the refusals mean something', async () => {
    const resource = on.inner.identifier;
    const parameters = { resource, actor_token: token, actor_token_type: JWT_TYPE, subject_token_type: JWT_TYPE };
    for (const good of [token, await ours({ jti: 'another' })]) {
      expect((await exchange(issuer, on.gateway, good, { ...parameters, actor_token: good })).status).toBe(200);
    }
  });

  const part = (value: object) => base64url.encode(JSON.stringify(value));
  const now = () => Math.floor(Date.now() / 1_000);
  /** Its claims, signed by another key under the same header. */
  const signed = async (claims: object, header: object = {}) => {
    const { privateKey } = await generateKeyPair('RS256');
    return new SignJWT({ ...decodeJwt(token), ...claims })
      .setProtectedHeader({ ...decodeProtectedHeader(token), alg: 'RS256', ...header })
      .sign(privateKey);
  };
  /** Signed by the server itself, which makes no such token. */
  const ours = async (claims: object, header: object = {}) => {
    const { privateJwks } = await server.domains.signingKeys.load();
    const { alg = '', kid, ...jwk } = privateJwks[0] ?? {};
    return new SignJWT({ ...decodeJwt(token), ...claims })
      .setProtectedHeader({ alg, kid: String(kid), typ: 'at+jwt', ...header })
      .sign(jwk as Parameters<SignJWT['sign']>[0]);
  };

  /** A living grant, as what a token came from. */
  const grantOfPerson = async (client_id: string) => {
    const person = await signInToApp(issuer, server.domains, on);
    return { client_id, grant_id: String(decodeJwt(person.token).grant_id) };
  };

  test('while one is exchanged that came of a living grant', async () => {
    const good = await ours({ exchanged_from: [await grantOfPerson(on.app.id)] });
    expect((await exchange(issuer, on.gateway, good, { resource: on.inner.identifier })).status).toBe(200);
  });

  test.each<[string, () => Promise<string> | string]>([
    ['nothing that looks like one', () => 'nothing'],
    [
      'with a character changed in its claims',
      () => token.replace(/\.(.)/, (_, first) => (first === 'e' ? '.f' : '.e')),
    ],
    ['with its signature cut off', () => `${token.split('.').slice(0, 2).join('.')}.`],
    ['that says it is not signed', () => `${part({ alg: 'none', typ: 'at+jwt' })}.${token.split('.')[1]}.`],
    ['signed by another', () => signed({})],
    ['that has expired', () => ours({ exp: now() - 60 })],
    ['that has expired within the tolerance of clocks', () => ours({ exp: now() - 1 })],
    ['of another issuer', () => ours({ iss: 'https://other.example.com' })],
    ['that is no access token', () => ours({}, { typ: 'JWT' })],
    ['of a client that there is not', () => ours({ client_id: 'nobody', sub: 'nobody' })],
    ['of a grant that there is not', () => ours({ grant_id: 'none' })],
    [
      'that came of a client that there is not',
      () => ours({ exchanged_from: [{ client_id: 'nobody', jti: 'x', rev: 0 }] }),
    ],
    ["that came of another client's grant", async () => ours({ exchanged_from: [await grantOfPerson(on.gateway.id)] })],
    ['with an API key that there is not', () => `tsk_${'a'.repeat(16)}_${'b'.repeat(49)}`],
    ['with text that no column keeps', () => 'a\0b'],
  ])('%s', async (_, make) => {
    await expectRefused(on, await make());
  });

  test('an ID token, and a refresh token', async () => {
    const app = await createTestClient(server.domains, {
      metadata: { grant_types: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE] },
    });
    const { login, password } = await signInToApp(issuer, server.domains, on);
    const parameters = { scope: 'openid offline_access', prompt: 'consent' };
    const tokens = await signInForTokens(issuer, app, { login, password }, { parameters });
    for (const presented of [tokens.id_token ?? '', tokens.refresh_token ?? '']) {
      expect(presented).not.toBe('');
      await expectRefused(on, presented);
      const { status, body } = await exchange(issuer, app, presented, {});
      expect({ status, body }).toEqual(REFUSED);
    }
    // Of userinfo alone it is the person's, and none of an API's scopes is in it.
    expect((await exchange(issuer, app, tokens.access_token, {})).body.error).toBe('invalid_scope');
  });
});

describe('who may know a token may exchange it, and nobody else', () => {
  test.each(['opaque', 'jwt'] as const)('%s', async (outer) => {
    const on = await createLandscape(server.domains, { outer, inner: 'opaque' });
    const { token } = await signInToApp(issuer, server.domains, on);
    const grant_types = ['client_credentials', TOKEN_EXCHANGE];
    const scope = `${on.read} ${on.write}`;
    const stranger = await createServiceClient(server.domains, scope, { metadata: { grant_types } });
    const resource = on.inner.identifier;
    for (const client of [stranger, on.backend]) {
      const { status, body } = await exchange(issuer, client, token, { resource });
      expect({ status, body }).toEqual(REFUSED);
      expect(await isActive(issuer, client, token)).toBe(false);
    }
    await server.domains.clients.update(stranger.id, { mayIntrospectAny: true });
    for (const client of [stranger, on.gateway]) {
      expect((await exchange(issuer, client, token, { resource })).status).toBe(200);
    }
    // What it came from is its client's, who is no party to the new token.
    const derived = await exchanged(issuer, on.gateway, token, { resource });
    expect(await isActive(issuer, on.app, derived)).toBe(false);
  });
});

describe('a token that came of an exchange', () => {
  test('is no way to userinfo, to a session or to a refresh token', async () => {
    const on = await createLandscape(server.domains, { outer: 'opaque', inner: 'opaque' });
    const { token } = await signInToApp(issuer, server.domains, on);
    const { body } = await exchange(issuer, on.gateway, token, { resource: on.inner.identifier });
    expect(body).not.toHaveProperty('refresh_token');
    expect(body).not.toHaveProperty('id_token');
    const authorization = `Bearer ${body.access_token}`;
    expect((await fetch(`${issuer}/userinfo`, { headers: { authorization } })).status).toBe(401);
  });

  test('keeps no value that could be presented, in the database or in a JWT', async () => {
    const on = await createLandscape(server.domains, { outer: 'opaque', inner: 'opaque' });
    const { token } = await signInToApp(issuer, server.domains, on);
    const derived = await exchanged(issuer, on.gateway, token, { resource: on.inner.identifier });
    const rows = await server.domains.database.knex('artifacts').where({ client_id: on.gateway.id }).select('payload');
    expect(rows.length).toBeGreaterThan(0);
    const written = JSON.stringify(rows);
    expect(written).toContain('exchanged_from');
    for (const value of [token, derived]) expect(written).not.toContain(value);
    const asJwt = await createLandscape(server.domains, { outer: 'opaque', inner: 'jwt' });
    const service = await serviceToken(issuer, asJwt.gateway, { resource: asJwt.outer.identifier });
    const jwt = await exchanged(issuer, asJwt.gateway, service, { resource: asJwt.inner.identifier });
    expect(JSON.stringify(decodeJwt(jwt))).not.toContain(service);
  });
});

describe('a bound token', () => {
  const proofFor = (keys: ProofKeyPair, nonce?: string, jti?: string) =>
    proofOf(keys, { htu: `${issuer}/token`, nonce, ...(jti === undefined ? {} : { jti }) });

  async function nonceFor(client: Client): Promise<string | undefined> {
    const refused = await requestWithProof(issuer, client, await proofFor(await makeProofKeyPair()));
    expect(refused.body.error).toBe('use_dpop_nonce');
    return refused.nonce;
  }

  test.each(['opaque', 'jwt'] as const)(
    'is bound to the key of who exchanged (%s), and its proof is good once',
    async (inner) => {
      const on = await createLandscape(server.domains, { outer: 'jwt', inner });
      const { account, token } = await signInToApp(issuer, server.domains, on);
      const keys = await makeProofKeyPair();
      const proof = await proofFor(keys, await nonceFor(on.gateway));
      const parameters = {
        grant_type: TOKEN_EXCHANGE,
        subject_token: token,
        subject_token_type: ACCESS_TOKEN_TYPE,
        resource: on.inner.identifier,
      };
      const given = await requestWithProof(issuer, on.gateway, proof, parameters);
      expect(given).toMatchObject({ status: 200, body: { token_type: 'DPoP', issued_token_type: ACCESS_TOKEN_TYPE } });
      const { body } = await introspect(issuer, on.backend, String(given.body.access_token));
      const jkt = expect.any(String);
      expect(body).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt }, sub: account.id });
      expect(await requestWithProof(issuer, on.gateway, proof, parameters)).toMatchObject({
        status: 400,
        body: { error: 'invalid_grant' },
      });
    },
  );

  test('is asked for of a client that is registered for nothing else', async () => {
    const gateway = { metadata: { dpop_bound_access_tokens: true } };
    const on = await createLandscape(server.domains, { outer: 'jwt', inner: 'jwt' }, gateway);
    const { token } = await signInToApp(issuer, server.domains, on);
    const { status, body } = await exchange(issuer, on.gateway, token, { resource: on.inner.identifier });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_grant' });
  });

  test.each(['opaque', 'jwt'] as const)('is exchanged for nothing but a bound one (%s)', async (outer) => {
    const on = await createLandscape(server.domains, { outer, inner: 'opaque' });
    const keys = await makeProofKeyPair();
    const own = { grant_type: 'client_credentials', resource: on.outer.identifier };
    const asked = await requestWithProof(issuer, on.gateway, await proofFor(keys, await nonceFor(on.gateway)), own);
    expect(asked).toMatchObject({ status: 200, body: { token_type: 'DPoP' } });
    const token = String(asked.body.access_token);
    const resource = on.inner.identifier;
    const { status, body } = await exchange(issuer, on.gateway, token, { resource });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
    expect(body.error_description).toContain('is bound to a key');
    const proof = await proofFor(keys, await nonceFor(on.gateway));
    const given = await requestWithProof(issuer, on.gateway, proof, {
      grant_type: TOKEN_EXCHANGE,
      subject_token: token,
      subject_token_type: ACCESS_TOKEN_TYPE,
      resource,
    });
    expect(given).toMatchObject({ status: 200, body: { token_type: 'DPoP' } });
  });

  test('is refused to a proof of another key than it shows', async () => {
    const on = await createLandscape(server.domains, { outer: 'jwt', inner: 'jwt' });
    const { token } = await signInToApp(issuer, server.domains, on);
    const [keys, other] = [await makeProofKeyPair(), await makeProofKeyPair()];
    const nonce = await nonceFor(on.gateway);
    const forged = await new SignJWT({ htm: 'POST', htu: `${issuer}/token`, nonce })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: await exportJWK(keys.publicKey) })
      .setIssuedAt()
      .setJti('once')
      .sign(other.privateKey);
    const parameters = { grant_type: TOKEN_EXCHANGE, subject_token: token, subject_token_type: ACCESS_TOKEN_TYPE };
    const { body } = await requestWithProof(issuer, on.gateway, forged, {
      ...parameters,
      resource: on.inner.identifier,
    });
    expect(body.error).toBe('invalid_dpop_proof');
  });
});
