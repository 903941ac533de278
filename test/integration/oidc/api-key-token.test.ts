import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { asClient, createTestApiKey, setUpForKeys, tokenByBearer } from '../../harness/api-keys.ts';
import { makeProofKeyPair, proofOf, requestWithProof } from '../../harness/dpop.ts';
import { createTestApi } from '../../harness/factories.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, introspect, post, serviceToken } from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';

let server: TestServer;
/** How far the server's clock is ahead. */
let aheadMs = 0;
beforeAll(async () => {
  server = await startTestServer({
    clock: () => Date.now() + aheadMs,
    environment: { TRUST_PROXY: '127.0.0.1,::1' },
  });
});
afterAll(() => server.close());

const FORMATS = ['opaque', 'jwt'] as const;
const OWNERS = ['account', 'client'] as const;

/** What a token says, whatever its format. */
async function claimsOf(guard: { id: string; secret: string }, token: string) {
  const { body } = await introspect(server.issuer, guard, token);
  if (!token.includes('.')) return body;
  expect(decodeJwt(token)).toMatchObject({ sub: body.sub, client_id: body.client_id });
  return body;
}

describe.each(OWNERS)('a key of an %s', (kind) => {
  test.each(FORMATS)('gets a short-lived %s token, about its owner and in its own name', async (tokenFormat) => {
    const setup = await setUpForKeys(server.domains, kind, { tokenFormat, ttlSeconds: 120 });
    const { api, read, write, owner, ownerId, guard } = setup;
    const key = await createTestApiKey(server.domains, { owner, scopes: [read, write], apis: [api.identifier] });
    const { status, body } = await clientCredentials(server.issuer, key, { scope: read });
    expect(status).toBe(200);
    expect(body).toMatchObject({ token_type: 'Bearer', expires_in: 120, scope: read });
    expect(await claimsOf(guard, String(body.access_token))).toMatchObject({
      active: true,
      client_id: key.id,
      sub: ownerId,
      scope: read,
      aud: api.identifier,
    });
  });

  test('gets the same by Basic and with the whole key as bearer, whatever the case of the scheme', async () => {
    const { api, read, owner } = await setUpForKeys(server.domains, kind);
    const { key, ...client } = await createTestApiKey(server.domains, {
      owner,
      scopes: [read],
      apis: [api.identifier],
    });
    const expected = { token_type: 'Bearer', expires_in: 600, scope: read };
    expect((await clientCredentials(server.issuer, client)).body).toMatchObject(expected);
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      const { status, body } = await tokenByBearer(server.issuer, `${scheme} ${key}`);
      expect(status).toBe(200);
      expect(body).toMatchObject(expected);
    }
  });

  test('gets no scope and no API that it does not have, though its owner has them', async () => {
    const { api, read, write, owner } = await setUpForKeys(server.domains, kind);
    const other = await createTestApi(server.domains);
    const key = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier] });
    const beyond = await clientCredentials(server.issuer, key, { scope: `${read} ${write}` });
    expect(beyond).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
    const elsewhere = await clientCredentials(server.issuer, key, { resource: other.identifier });
    expect(elsewhere).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
    const two = await post(`${server.issuer}/token`, key, { grant_type: 'client_credentials', scope: 'openid' });
    expect(two).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
    expect((await clientCredentials(server.issuer, key)).body.scope).toBe(read);
  });
});

describe('a key is refused with 401 invalid_client, in the same words', () => {
  async function refusals(key: string) {
    const client = asClient(key);
    return [await clientCredentials(server.issuer, client), await tokenByBearer(server.issuer, `Bearer ${key}`)];
  }

  async function liveKey(kind: (typeof OWNERS)[number] = 'client', expiresAt?: Date) {
    const setup = await setUpForKeys(server.domains, kind);
    const { api, read, owner } = setup;
    const key = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier], expiresAt });
    expect((await clientCredentials(server.issuer, key)).status).toBe(200);
    return { ...setup, ...key };
  }

  const swap = (key: string, at: number) => `${key.slice(0, at)}${key[at] === 'a' ? 'b' : 'a'}${key.slice(at + 1)}`;

  test.each<[string, () => Promise<string>]>([
    ['with a wrong checksum', async () => swap((await liveKey()).key, 69)],
    [
      'with another’s secret',
      async () => {
        const [one, other] = [await liveKey(), await liveKey()];
        return `${one.id}_${other.secret}`;
      },
    ],
    ['that nobody has', async () => swap((await liveKey()).key, 5)],
    ['that is too short', async () => (await liveKey()).key.slice(0, -1)],
    [
      'that is revoked',
      async () => {
        const { apiKey, key } = await liveKey();
        await server.domains.apiKeys.revoke(apiKey.id);
        return key;
      },
    ],
    [
      'that is disabled',
      async () => {
        const { apiKey, key } = await liveKey();
        await server.domains.apiKeys.disable(apiKey.id);
        return key;
      },
    ],
    [
      'that was replaced',
      async () => {
        const { apiKey, key } = await liveKey();
        await server.domains.apiKeys.roll(apiKey.id, { overlapSeconds: 0 });
        return key;
      },
    ],
    [
      'whose account is disabled',
      async () => {
        const { key, ownerId } = await liveKey('account');
        await server.domains.accounts.disable(ownerId);
        return key;
      },
    ],
    [
      'whose account is gone',
      async () => {
        const { key, ownerId } = await liveKey('account');
        await server.domains.accounts.delete(ownerId);
        return key;
      },
    ],
    [
      'whose client is gone',
      async () => {
        const { key, ownerId } = await liveKey();
        await server.domains.clients.delete(ownerId);
        return key;
      },
    ],
    [
      'whose client may not use the grant any more',
      async () => {
        const { key, ownerId } = await liveKey();
        const metadata = { grant_types: ['authorization_code'], redirect_uris: ['https://a.example/'] };
        await server.domains.clients.update(ownerId, { metadata: { ...metadata, response_types: ['code'] } });
        return key;
      },
    ],
    [
      'whose client lost the API',
      async () => {
        const { key, ownerId } = await liveKey();
        const other = await createTestApi(server.domains);
        await server.domains.clients.update(ownerId, { apis: [other.identifier] });
        return key;
      },
    ],
  ])('%s', async (_, keyOf) => {
    const key = await keyOf();
    for (const { status, body, headers } of await refusals(key)) {
      expect({ status, body }).toEqual({
        status: 401,
        body: { error: 'invalid_client', error_description: 'client authentication failed' },
      });
      expect(headers.get('cache-control')).toContain('no-store');
      expect(headers.get('ratelimit-policy')).toBeNull();
    }
  });

  test('that has expired', async () => {
    const { key } = await liveKey('client', new Date(Date.now() + 60_000));
    aheadMs = 61_000;
    try {
      for (const { status, body } of await refusals(key)) {
        expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
      }
    } finally {
      aheadMs = 0;
    }
  });

  test('with a challenge of the scheme that was used', async () => {
    const { key } = await liveKey();
    const [basic, bearer] = await refusals(swap(key, 69));
    expect(basic?.headers.get('www-authenticate')).toMatch(/^Basic realm=/);
    expect(bearer?.headers.get('www-authenticate')).toMatch(/^Bearer realm=.*error="invalid_client"/);
  });

  test('after as many statements, whether nobody has the id or the secret is wrong', async () => {
    const { key } = await liveKey();
    const { pool, knex } = server.domains.database;
    const statements: string[] = [];
    pool.on('acquire', () => statements.push('of the token store'));
    // What is asked of the whole server now and then has nothing to do with a key.
    knex.on('query', ({ sql }: { sql: string }) => {
      if (/from "?(api_keys|clients|accounts)\b/.test(sql) && !sql.includes('api_key_usage')) statements.push(sql);
    });
    const nobodys = `tsk_${'0'.repeat(16)}_${key.slice(21)}`;
    const ofAnother = `${(await liveKey()).id}_${(await liveKey()).secret}`;
    for (const wrong of [nobodys, ofAnother, swap(key, 69)]) {
      // A node that is too busy to hear of changes asks again; then once more without.
      await until(
        'it is refused without a statement',
        async () => {
          statements.length = 0;
          await refusals(wrong);
          return statements.length === 0;
        },
        5_000,
      );
    }
  });
});

test('a rolled key has two secrets until the old one’s time is over', async () => {
  const { api, read, owner } = await setUpForKeys(server.domains);
  const old = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier] });
  const rolled = await server.domains.apiKeys.roll(old.apiKey.id, { overlapSeconds: 60 });
  if (!rolled.ok) throw new Error(rolled.reason);
  const fresh = asClient(rolled.key);
  expect(fresh.id).toBe(old.id);
  for (const client of [old, fresh]) expect((await clientCredentials(server.issuer, client)).status).toBe(200);
  aheadMs = 61_000;
  try {
    expect((await clientCredentials(server.issuer, old)).status).toBe(401);
    expect((await clientCredentials(server.issuer, fresh)).status).toBe(200);
  } finally {
    aheadMs = 0;
  }
});

test('a key shrinks with its owner, and its tokens that say more are over', async () => {
  const { api, read, write, owner, ownerId, guard } = await setUpForKeys(server.domains);
  const key = await createTestApiKey(server.domains, { owner, scopes: [read, write], apis: [api.identifier] });
  const whole = await serviceToken(server.issuer, key);
  const reading = await serviceToken(server.issuer, key, { scope: read });
  await server.domains.clients.update(ownerId, { metadata: { scope: read } });
  expect((await clientCredentials(server.issuer, key, { scope: write })).body.error).toBe('invalid_scope');
  expect((await clientCredentials(server.issuer, key)).body.scope).toBe(read);
  expect((await introspect(server.issuer, guard, whole)).body).toEqual({ active: false });
  expect((await introspect(server.issuer, guard, reading)).body.active).toBe(true);
});

test('a key may ask at an API for what its owner may ask for there, and no more', async () => {
  const { api, read, write, owner, ownerId, guard } = await setUpForKeys(server.domains);
  const key = await createTestApiKey(server.domains, { owner, scopes: [read, write], apis: [api.identifier] });
  const whole = await serviceToken(server.issuer, key);
  const changed = await server.domains.clients.update(ownerId, {
    apis: [api.identifier],
    apiScopes: { [api.identifier]: [read] },
  });
  expect(changed.ok).toBe(true);
  expect((await clientCredentials(server.issuer, key, { scope: write })).body.error).toMatch(
    /^invalid_(scope|target)$/,
  );
  expect((await clientCredentials(server.issuer, key, { resource: api.identifier })).body.scope).toBe(read);
  expect((await introspect(server.issuer, guard, key.key)).body.scope).toBe(read);
  expect((await introspect(server.issuer, guard, whole)).body).toEqual({ active: false });
});

test('a key’s tokens live no longer than its owner’s', async () => {
  const { api, read, owner, ownerId } = await setUpForKeys(server.domains);
  const key = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier] });
  await server.domains.clients.update(ownerId, { metadata: { access_token_ttl_seconds: 30 } });
  expect((await clientCredentials(server.issuer, key)).body.expires_in).toBe(30);
});

test('a key lives on when its API gets other scopes, with those that are left', async () => {
  const { api, read, write, owner, service } = await setUpForKeys(server.domains, 'account');
  const key = await createTestApiKey(server.domains, { owner, scopes: [read, write], apis: [api.identifier] });
  await server.domains.clients.delete(service.id);
  const changed = await server.domains.apis.update(api.identifier, { scopes: [read] });
  expect(changed.ok).toBe(true);
  expect((await clientCredentials(server.issuer, key)).body.scope).toBe(read);
});

test('a token of a key may be bound, and has to be where the owner’s are (RFC 9449)', async () => {
  const { api, read, owner, ownerId, guard } = await setUpForKeys(server.domains);
  const key = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier] });
  await server.domains.clients.update(ownerId, { metadata: { dpop_bound_access_tokens: true } });
  expect((await clientCredentials(server.issuer, key)).status).toBe(400);
  const keys = await makeProofKeyPair();
  const htu = `${server.issuer}/token`;
  const { nonce } = await requestWithProof(server.issuer, key, await proofOf(keys, { htu }));
  const { status, body } = await requestWithProof(server.issuer, key, await proofOf(keys, { htu, nonce }));
  expect({ status, type: body.token_type }).toEqual({ status: 200, type: 'DPoP' });
  expect((await introspect(server.issuer, guard, String(body.access_token))).body).toMatchObject({
    active: true,
    sub: ownerId,
  });
});

describe('a key with an allow-list', () => {
  const from = async (address: string, client: { id: string; secret: string }) => {
    const response = await fetch(`${server.issuer}/token`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}`,
        'x-forwarded-for': address,
      },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  test('is used from these addresses alone, as a trusted proxy names them', async () => {
    const { api, read, owner } = await setUpForKeys(server.domains);
    const key = await createTestApiKey(server.domains, {
      owner,
      scopes: [read],
      apis: [api.identifier],
      allowedAddresses: ['192.0.2.0/24', '2001:db8::/32'],
    });
    for (const inside of ['192.0.2.7', '2001:db8::1']) expect((await from(inside, key)).status).toBe(200);
    for (const outside of ['198.51.100.1', '2001:db9::1']) {
      expect(await from(outside, key)).toMatchObject({ status: 400, body: { error: 'unauthorized_client' } });
    }
  });

  test('says so only to who holds the key', async () => {
    const { api, read, owner } = await setUpForKeys(server.domains);
    const terms = { owner, scopes: [read], apis: [api.identifier] };
    const key = await createTestApiKey(server.domains, { ...terms, allowedAddresses: ['192.0.2.0/24'] });
    const other = await createTestApiKey(server.domains, terms);
    expect(await from('198.51.100.1', { id: key.id, secret: other.secret })).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    });
  });
});

test('the trail names the key and what it was used for', async () => {
  const { api, read, owner } = await setUpForKeys(server.domains);
  const key = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier] });
  await serviceToken(server.issuer, key);
  await serviceToken(server.issuer, key);
  await clientCredentials(server.issuer, key, { resource: 'urn:made:up' });
  await server.domains.apiKeys.flush();
  const day = new Date().toISOString().slice(0, 10);
  const usage = await server.domains.apiKeys.usage({ id: key.apiKey.id }, { from: day, to: day });
  expect(usage.map(({ api: used, requests }) => ({ used, requests }))).toEqual([{ used: api.identifier, requests: 2 }]);
});
