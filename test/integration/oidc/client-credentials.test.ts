import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createRemoteJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  jwtVerify,
  SignJWT,
} from 'jose';
import { createServiceClient, createTestApi, createTestClient, unique } from '../../harness/factories.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, introspect, isActive, post, serviceToken } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** An API and a client that may have both of its scopes. */
async function serviceWithApi(
  api: Parameters<typeof createTestApi>[1] = {},
  client: Parameters<typeof createServiceClient>[2] = {},
) {
  const created = await createTestApi(server.domains, api);
  const [read = '', write = ''] = created.scopes.map(({ scope }) => scope);
  const service = await createServiceClient(server.domains, `${read} ${write}`, client);
  return { api: created, service, read, write };
}

describe('client authentication', () => {
  test('by Basic or by post, as the client is registered', async () => {
    const basic = await serviceWithApi();
    expect((await clientCredentials(server.issuer, basic.service)).status).toBe(200);
    const byPost = await serviceWithApi({}, { metadata: { token_endpoint_auth_method: 'client_secret_post' } });
    const { status, body } = await post(`${server.issuer}/token`, undefined, {
      grant_type: 'client_credentials',
      client_id: byPost.service.id,
      client_secret: byPost.service.secret,
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({ token_type: 'Bearer', expires_in: 600 });
    expect(body).not.toHaveProperty('refresh_token');
  });

  test('by another way than the registered one is refused; Basic and post are the same secret in two places', async () => {
    const { service } = await serviceWithApi();
    const posted = { grant_type: 'client_credentials', client_id: service.id, client_secret: service.secret };
    expect((await post(`${server.issuer}/token`, undefined, posted)).status).toBe(200);
    const withoutSecret = await clientCredentials(server.issuer, { id: service.id, secret: '' });
    expect(withoutSecret).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    const spa = await createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } });
    const withSecret = await post(`${server.issuer}/token`, { id: spa.id, secret: 'anything' }, { grant_type: 'x' });
    expect(withSecret).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test('with a wrong secret, of an unknown client or of none is 401 invalid_client with a challenge', async () => {
    const { service } = await serviceWithApi();
    for (const client of [
      { id: service.id, secret: 'wrong' },
      { id: service.id, secret: `${service.secret}x` },
      { id: unique('nobody'), secret: service.secret },
    ]) {
      const { status, body, headers } = await clientCredentials(server.issuer, client);
      expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
      expect(headers.get('www-authenticate')).toMatch(/^Basic realm=/);
      expect(headers.get('cache-control')).toContain('no-store');
    }
    const none = await post(`${server.issuer}/token`, undefined, { grant_type: 'client_credentials' });
    expect(none.status).toBe(400);
    expect(none.body.error).toBe('invalid_request');
  });

  test('in two ways at once is refused', async () => {
    const { service } = await serviceWithApi();
    const { status, body } = await clientCredentials(server.issuer, service, {
      client_id: service.id,
      client_secret: service.secret,
    });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
  });

  test('comes first: nothing is said about scopes or APIs to who fails it', async () => {
    const { service } = await serviceWithApi();
    const { body } = await clientCredentials(
      server.issuer,
      { id: service.id, secret: 'wrong' },
      { scope: 'nonsense', resource: 'urn:nothing' },
    );
    expect(body.error).toBe('invalid_client');
  });

  test('is not enough where the grant is not the client’s', async () => {
    const web = await createTestClient(server.domains);
    const { status, body } = await clientCredentials(server.issuer, web);
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
    expect(body.error_description).toMatch(/grant type is not allowed for this client/);
  });
});

describe('scopes', () => {
  test('left out: all that the client has; named: those alone', async () => {
    const { service, read, write } = await serviceWithApi();
    expect((await clientCredentials(server.issuer, service)).body.scope).toBe(`${read} ${write}`);
    expect((await clientCredentials(server.issuer, service, { scope: read })).body.scope).toBe(read);
  });

  test('left out beside an API that is named: all that the client has there, and no more', async () => {
    const { api, service, read, write } = await serviceWithApi();
    const reader = await createServiceClient(server.domains, read);
    const resource = api.identifier;
    expect((await clientCredentials(server.issuer, service, { resource })).body.scope).toBe(`${read} ${write}`);
    expect((await clientCredentials(server.issuer, reader, { resource })).body.scope).toBe(read);
  });

  test('that nobody owns are invalid_scope, also beside good ones, and never dropped in silence', async () => {
    const { api, service, read } = await serviceWithApi();
    const nobodys = unique('scope');
    for (const resource of [undefined, api.identifier]) {
      for (const scope of [nobodys, `${read} ${nobodys}`]) {
        const { status, body } = await clientCredentials(server.issuer, service, {
          scope,
          ...(resource === undefined ? undefined : { resource }),
        });
        expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_scope' });
      }
    }
  });

  test('that the client isn’t registered for are invalid_scope, OpenID’s among them', async () => {
    const { api, read, write } = await serviceWithApi();
    const reader = await createServiceClient(server.domains, read);
    for (const scope of [write, `${read} ${write}`, 'openid', 'offline_access', `${read} openid`]) {
      for (const parameters of [{ scope }, { scope, resource: api.identifier }]) {
        const { status, body } = await clientCredentials(server.issuer, reader, parameters);
        expect({ scope, status, error: body.error }).toEqual({ scope, status: 400, error: 'invalid_scope' });
      }
    }
  });
});

describe('APIs', () => {
  test('named none: the one that owns every scope asked for', async () => {
    const { api, service, read } = await serviceWithApi();
    const token = await serviceToken(server.issuer, service, { scope: read });
    expect((await introspect(server.issuer, service, token)).body).toMatchObject({ aud: api.identifier, scope: read });
  });

  test('named none, where scopes of two are asked: invalid_target, which names the choices', async () => {
    const [one, other] = await Promise.all([createTestApi(server.domains), createTestApi(server.domains)]);
    const scopes = [one, other].map((api) => api.scopes[0]?.scope ?? '');
    const service = await createServiceClient(server.domains, scopes.join(' '), {
      apis: [one.identifier, other.identifier],
    });
    for (const parameters of [{}, { scope: scopes.join(' ') }]) {
      const { status, body } = await clientCredentials(server.issuer, service, parameters);
      expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_target' });
      expect(body.error_description).toContain(one.identifier);
      expect(body.error_description).toContain(other.identifier);
    }
  });

  test('named none, where scopes of two are asked: what others there are is not told', async () => {
    const [one, other, unrelated] = await Promise.all([1, 2, 3].map(() => createTestApi(server.domains)));
    const scopes = [one, other].map((api) => api?.scopes[0]?.scope ?? '');
    // Registered for no API by name, and so allowed to call any.
    const service = await createServiceClient(server.domains, scopes.join(' '));
    for (const parameters of [{}, { scope: scopes.join(' ') }]) {
      const { body } = await clientCredentials(server.issuer, service, parameters);
      expect(body.error).toBe('invalid_target');
      expect(body.error_description).toContain(one?.identifier);
      expect(body.error_description).toContain(other?.identifier);
      expect(body.error_description).not.toContain(unrelated?.identifier);
      expect(String(body.error_description).split(', ')).toHaveLength(2);
    }
  });

  test('named none, where two own the scope: invalid_target; named one, that one', async () => {
    const scope = unique('shared');
    const [one, other] = await Promise.all([1, 2].map(() => createTestApi(server.domains, { scopes: [scope] })));
    const service = await createServiceClient(server.domains, scope);
    const { body } = await clientCredentials(server.issuer, service, { scope });
    expect(body.error).toBe('invalid_target');
    expect(body.error_description).toContain(one?.identifier);
    expect(body.error_description).toContain(other?.identifier);
    const resource = other?.identifier ?? '';
    const token = await serviceToken(server.issuer, service, { scope, resource });
    expect((await introspect(server.issuer, service, token)).body.aud).toBe(resource);
  });

  test('unknown, or not the client’s: invalid_target', async () => {
    const { api, read } = await serviceWithApi();
    const other = await createTestApi(server.domains);
    const service = await createServiceClient(server.domains, read, { apis: [api.identifier] });
    for (const resource of ['urn:nothing', other.identifier, 'no uri', `${api.identifier}#part`]) {
      const { status, body } = await clientCredentials(server.issuer, service, { resource });
      expect({ resource, status, error: body.error }).toEqual({ resource, status: 400, error: 'invalid_target' });
    }
    expect((await clientCredentials(server.issuer, service, { resource: api.identifier })).status).toBe(200);
  });

  test('two in one request are refused: a token is for one', async () => {
    const { api, service } = await serviceWithApi();
    const other = await createTestApi(server.domains);
    const form = new URLSearchParams({ grant_type: 'client_credentials', resource: api.identifier });
    form.append('resource', other.identifier);
    const response = await fetch(`${server.issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${service.id}:${service.secret}`).toString('base64')}` },
      body: form,
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: 'invalid_target' });
  });

  test.each([
    ['urn:example:orders', 'a URN'],
    ['https://api.example.com', 'an origin'],
    ['https://api.example.com/v1/orders?tenant=1', 'an address with path and query'],
    ['com.example.api:/orders', 'a private scheme'],
  ])('are named by any absolute URI, compared as it stands: %s', async (identifier) => {
    const { api, service, read } = await serviceWithApi({
      identifier: `${identifier}${unique('-')}`,
      tokenFormat: 'jwt',
    });
    const token = await serviceToken(server.issuer, service, { resource: api.identifier });
    expect(decodeJwt(token)).toMatchObject({ aud: api.identifier, scope: expect.stringContaining(read) });
    for (const resource of [
      `${api.identifier}/`,
      api.identifier.toUpperCase(),
      `${api.identifier}#`,
      `//${identifier}`,
    ]) {
      const { status, body } = await clientCredentials(server.issuer, service, { resource });
      expect({ resource, status, error: body.error }).toEqual({ resource, status: 400, error: 'invalid_target' });
    }
  });

  test('are usable right after they were registered, and their lifetime is the token’s', async () => {
    const { service } = await serviceWithApi({ ttlSeconds: 77 });
    expect((await clientCredentials(server.issuer, service)).body.expires_in).toBe(77);
  });
});

describe('formats', () => {
  test.each(['RS256', 'ES256'] as const)('a JWT signed with %s verifies against /jwks (RFC 9068)', async (alg) => {
    const { api, service, read } = await serviceWithApi({
      tokenFormat: 'jwt',
      signingAlgorithm: alg,
      ttlSeconds: 120,
    });
    const token = await serviceToken(server.issuer, service, { scope: read });
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`));
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      issuer: server.issuer,
      audience: api.identifier,
      typ: 'at+jwt',
      algorithms: [alg],
      subject: service.id,
    });
    expect(protectedHeader).toEqual({ alg, typ: 'at+jwt', kid: expect.any(String) });
    expect(Object.keys(payload).sort()).toEqual(['aud', 'client_id', 'exp', 'iat', 'iss', 'jti', 'scope', 'sub']);
    expect(payload).toMatchObject({ client_id: service.id, scope: read, jti: expect.any(String) });
    expect(Number(payload.exp) - Number(payload.iat)).toBe(120);
    expect((await introspect(server.issuer, service, token)).body).toEqual({
      ...payload,
      active: true,
      token_type: 'Bearer',
    });
  });

  test('an opaque token says nothing by itself and everything to introspection', async () => {
    const { api, service, read } = await serviceWithApi({ tokenFormat: 'opaque', ttlSeconds: 120 });
    const token = await serviceToken(server.issuer, service, { scope: read });
    expect(token).toMatch(/^[\w-]{40,}$/);
    expect(() => decodeProtectedHeader(token)).toThrow();
    const { body } = await introspect(server.issuer, service, token);
    expect(body).toMatchObject({
      active: true,
      client_id: service.id,
      aud: api.identifier,
      scope: read,
      iss: server.issuer,
      token_type: 'Bearer',
    });
    expect(Number(body.exp) - Number(body.iat)).toBe(120);
  });

  test('an API that changes its format changes the next token, and the one before stays good', async () => {
    const { api, service } = await serviceWithApi({ tokenFormat: 'opaque' });
    const opaque = await serviceToken(server.issuer, service);
    await server.domains.apis.update(api.identifier, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
    const jwt = await serviceToken(server.issuer, service);
    expect(decodeProtectedHeader(jwt).alg).toBe('ES256');
    expect(await isActive(server.issuer, service, opaque)).toBe(true);
    expect(await isActive(server.issuer, service, jwt)).toBe(true);
  });
});

describe('private_key_jwt', () => {
  async function serviceWithKey() {
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const { service, api } = await serviceWithApi(
      {},
      {
        metadata: {
          token_endpoint_auth_method: 'private_key_jwt',
          jwks: { keys: [{ ...(await exportJWK(publicKey)), kty: 'EC', kid: 'one', alg: 'ES256', use: 'sig' }] },
        },
      },
    );
    return { service, api, privateKey };
  }

  function assertion(
    clientId: string,
    key: Parameters<SignJWT['sign']>[0],
    claims: { aud?: string; jti?: string; iss?: string; sub?: string; exp?: number } = {},
  ): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({
      iss: clientId,
      sub: clientId,
      aud: server.issuer,
      jti: unique('jti'),
      iat: now,
      exp: now + 60,
      ...claims,
    })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .sign(key);
  }

  const ask = (client_assertion: string) =>
    post(`${server.issuer}/token`, undefined, {
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion,
    });

  test('an assertion signed by the registered key is as good as a secret', async () => {
    const { service, privateKey } = await serviceWithKey();
    expect(service.secret).toBe('');
    expect((await ask(await assertion(service.id, privateKey))).status).toBe(200);
  });

  test('an assertion is used once, also by twenty at the same time', async () => {
    const { service, privateKey } = await serviceWithKey();
    const one = await assertion(service.id, privateKey);
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(one)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const { status, body } of answers.filter((answer) => answer.status !== 200)) {
      expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
    }
    expect((await ask(one)).status).toBe(401);
    expect((await ask(await assertion(service.id, privateKey))).status).toBe(200);
  });

  test('an assertion by another key, for another server, about another client, too old or without jti is refused', async () => {
    const { service, privateKey } = await serviceWithKey();
    const other = await serviceWithKey();
    const past = Math.floor(Date.now() / 1000) - 600;
    const withoutJti = await new SignJWT({ iss: service.id, sub: service.id, aud: server.issuer, exp: past + 900 })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .sign(privateKey);
    for (const bad of [
      await assertion(service.id, other.privateKey),
      await assertion(service.id, privateKey, { aud: 'https://elsewhere.example' }),
      await assertion(service.id, privateKey, { sub: other.service.id }),
      await assertion(service.id, privateKey, { iss: other.service.id }),
      await assertion(service.id, privateKey, { exp: past }),
      withoutJti,
      'nonsense',
      'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.',
    ]) {
      const { status, body } = await ask(bad);
      expect([400, 401]).toContain(status);
      expect(['invalid_client', 'invalid_request']).toContain(body.error);
    }
  });

  test('such a client can’t come by a secret instead', async () => {
    const { service } = await serviceWithKey();
    const { status, body } = await clientCredentials(server.issuer, { id: service.id, secret: 'anything' });
    expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
  });
});
