import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { compactDecrypt, createRemoteJWKSet, decodeProtectedHeader, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import { createTestApiKey } from '../../harness/api-keys.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { exchange, TOKEN_EXCHANGE } from '../../harness/token-exchange.ts';
import { basicOf, introspect, revoke, serviceToken } from '../../harness/token-requests.ts';

const SIGNED = 'application/token-introspection+jwt';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const keys = () => createRemoteJWKSet(new URL(`${server.issuer}/jwks`));

async function introspectSigned(client: Pick<TestClient, 'id' | 'secret'>, token: string, accept = SIGNED) {
  const response = await fetch(`${server.issuer}/introspect`, {
    method: 'POST',
    headers: { accept, authorization: basicOf(client) },
    body: new URLSearchParams({ token }),
  });
  return { status: response.status, type: response.headers.get('content-type') ?? '', text: await response.text() };
}

async function verified(client: Pick<TestClient, 'id'>, text: string, alg = 'RS256') {
  const { payload } = await jwtVerify(text, keys(), {
    issuer: server.issuer,
    audience: client.id,
    typ: 'token-introspection+jwt',
    algorithms: [alg],
  });
  return payload as typeof payload & { token_introspection: Record<string, unknown> };
}

/** A guard of one API, and something of each kind to ask about. */
async function everyKind(tokenFormat: 'opaque' | 'jwt') {
  const guard = await createServiceClient(server.domains, 'openid');
  const api = await createTestApi(server.domains, { tokenFormat, introspectionClientIds: [guard.id] });
  const scope = api.scopes[0]?.scope ?? '';
  const service = await createServiceClient(server.domains, scope, {
    apis: [api.identifier],
    roles: ['auditor'],
    metadata: { grant_types: ['client_credentials', TOKEN_EXCHANGE] },
  });
  const token = await serviceToken(server.issuer, service);
  const exchanged = await exchange(server.issuer, service, token, { resource: api.identifier, scope });
  const { key } = await createTestApiKey(server.domains, {
    owner: { kind: 'client', clientId: service.id },
    scopes: [scope],
    quota: { requests: 100, windowSeconds: 3_600 },
  });
  return { guard, service, token, exchanged: String(exchanged.body.access_token), key };
}

describe('introspection that is answered in a JWT (RFC 9701)', () => {
  test.each(['opaque', 'jwt'] as const)(
    'says the same of %s tokens, exchanged ones and API keys as in JSON',
    async (format) => {
      const { guard, token, exchanged, key } = await everyKind(format);
      for (const asked of [token, exchanged, key]) {
        const { body } = await introspect(server.issuer, guard, asked);
        const { status, type, text } = await introspectSigned(guard, asked);
        expect({ status, type }).toEqual({ status: 200, type: expect.stringContaining(SIGNED) });
        const { token_introspection: said, iat, ...claims } = await verified(guard, text);
        expect(body.active).toBe(true);
        // Each answer about a key is a use of it.
        expect({ ...said, quota: undefined }).toEqual({ ...body, quota: undefined });
        expect(said.quota !== undefined).toBe(body.quota !== undefined);
        expect(claims).toEqual({ iss: server.issuer, aud: guard.id });
        expect(iat).toEqual(expect.any(Number));
      }
      expect((await introspect(server.issuer, guard, token)).body.roles).toEqual(['auditor']);
    },
  );

  test('says no more than that it is inactive of what is dead, unknown, malformed or none of the caller’s business', async () => {
    const { guard, service, token, key } = await everyKind('opaque');
    const stranger = await createServiceClient(server.domains, 'openid');
    await revoke(server.issuer, service, token);
    const { header } = { header: Buffer.from('{"alg":"none"}').toString('base64url') };
    for (const [caller, asked] of [
      [guard, token],
      [guard, 'unknown'],
      [guard, `${header}.e30.`],
      [stranger, key],
    ] as const) {
      const { text } = await introspectSigned(caller, asked);
      expect((await verified(caller, text)).token_introspection).toEqual({ active: false });
    }
  });

  test('is signed by the algorithm that the caller has registered', async () => {
    const caller = await createServiceClient(server.domains, 'openid', {
      metadata: { introspection_signed_response_alg: 'ES256' },
    });
    const { text } = await introspectSigned(caller, 'unknown');
    expect((await verified(caller, text, 'ES256')).token_introspection).toEqual({ active: false });
  });

  test('is what was asked for: JSON stays the answer to everybody else, and errors are JSON', async () => {
    const { guard, token } = await everyKind('opaque');
    for (const accept of ['application/json', '*/*', `application/json, ${SIGNED};q=0.5`]) {
      expect((await introspectSigned(guard, token, accept)).type).toMatch(/^application\/json/);
    }
    const refused = await introspectSigned({ id: guard.id, secret: 'wrong' }, token);
    expect(refused.status).toBe(401);
    expect(JSON.parse(refused.text)).toMatchObject({ error: 'invalid_client' });
  });

  test('is not offered encrypted', async () => {
    await expect(
      createServiceClient(server.domains, 'openid', {
        metadata: { introspection_encrypted_response_alg: 'RSA-OAEP-256', jwks_uri: 'https://app.example.com/jwks' },
      }),
    ).rejects.toThrow(/introspection_encrypted_response_alg/);
  });
});

describe('userinfo in a JWT', () => {
  test('is signed as the client has registered', async () => {
    const person = await createTestAccount(server.domains, { name: 'Ada' });
    const client = await createTestClient(server.domains, { metadata: { userinfo_signed_response_alg: 'ES256' } });
    const tokens = await signInForTokens(server.issuer, client, person, { parameters: { scope: 'openid profile' } });
    const response = await fetch(`${server.issuer}/userinfo`, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    });
    expect(response.headers.get('content-type')).toMatch(/^application\/jwt/);
    const options = { issuer: server.issuer, audience: client.id, algorithms: ['ES256'] };
    const { payload } = await jwtVerify(await response.text(), keys(), options);
    expect(payload).toMatchObject({ sub: person.account.id, name: 'Ada' });
  });
});

describe('what is encrypted for a client', () => {
  test.each([
    ['RSA-OAEP-256', 'A256GCM'],
    ['RSA-OAEP', 'A128CBC-HS256'],
    ['ECDH-ES', 'A128GCM'],
  ])('by %s and %s, an ID token and userinfo, opens with its key alone and is signed inside', async (alg, enc) => {
    const pair = await generateKeyPair(alg, { extractable: true });
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'opens', use: 'enc', alg } as { kty: string };
    const person = await createTestAccount(server.domains);
    const client = await createTestClient(server.domains, {
      metadata: {
        jwks: { keys: [jwk] },
        id_token_encrypted_response_alg: alg,
        id_token_encrypted_response_enc: enc,
        userinfo_signed_response_alg: 'RS256',
        userinfo_encrypted_response_alg: alg,
        userinfo_encrypted_response_enc: enc,
      },
    });
    const tokens = await signInForTokens(server.issuer, client, person);
    const info = await fetch(`${server.issuer}/userinfo`, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    });
    for (const encrypted of [String(tokens.id_token), await info.text()]) {
      expect(decodeProtectedHeader(encrypted)).toMatchObject({ alg, enc, kid: 'opens' });
      const { plaintext } = await compactDecrypt(encrypted, pair.privateKey);
      const { payload } = await jwtVerify(new TextDecoder().decode(plaintext), keys(), {
        issuer: server.issuer,
        audience: client.id,
      });
      expect(payload.sub).toBe(person.account.id);
    }
  });

  test.each(['A128KW', 'A256GCMKW', 'dir', 'PBES2-HS256+A128KW'])(
    'is never by %s, which would be keyed with a secret',
    async (alg) => {
      await expect(
        createTestClient(server.domains, { metadata: { id_token_encrypted_response_alg: alg } }),
      ).rejects.toThrow(/is refused/);
    },
  );

  test('is listed in discovery, and what is not offered is not', async () => {
    const document = (await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()) as Record<
      string,
      unknown
    >;
    expect(document.id_token_encryption_alg_values_supported).toEqual(['RSA-OAEP', 'RSA-OAEP-256', 'ECDH-ES']);
    expect(Object.keys(document).filter((name) => /^(request_object|introspection)_encryption/.test(name))).toEqual([]);
  });
});
