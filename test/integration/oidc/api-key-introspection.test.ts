import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { formatApiKey, generateApiKeySecret } from '../../../src/api-keys/api-key-value.ts';
import { announceChange } from '../../../src/database/index.ts';
import { createTestApiKey, setUpForKeys, type TestApiKey } from '../../harness/api-keys.ts';
import { createServiceClient, createTestApi, createTestClient } from '../../harness/factories.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { type Client, introspect, post, serviceToken } from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';

let server: TestServer;
let aheadMs = 0;
beforeAll(async () => {
  server = await startTestServer({ clock: () => Date.now() + aheadMs });
});
afterAll(() => server.close());

const look = async (caller: Client, key: string, extra: Record<string, string> = {}) => {
  const { status, body, headers } = await post(`${server.issuer}/introspect`, caller, { token: key, ...extra });
  expect(status).toBe(200);
  expect(headers.get('cache-control')).toContain('no-store');
  return body;
};

/** A key of two APIs, each with its own guard. */
async function keyOfTwoApis(input: Partial<Parameters<typeof createTestApiKey>[1]> = {}) {
  const one = await setUpForKeys(server.domains);
  const two = await setUpForKeys(server.domains);
  const scope = `${one.read} ${one.write} ${two.read}`;
  const service = await createServiceClient(server.domains, scope);
  const key = await createTestApiKey(server.domains, {
    owner: { kind: 'client', clientId: service.id },
    scopes: scope.split(' '),
    apis: [one.api.identifier, two.api.identifier],
    ...input,
  });
  return { one, two, scope, service, key };
}

describe('of a living key', () => {
  test('its owner, the key itself and who may introspect any know all', async () => {
    const expiresAt = new Date(Date.now() + 86_400_000);
    const { one, two, scope, service, key } = await keyOfTwoApis({ expiresAt });
    const any = await createTestClient(server.domains, { mayIntrospectAny: true });
    for (const caller of [service, key, any]) {
      const { scope: shown, ...rest } = await look(caller, key.key);
      expect(String(shown).split(' ').sort()).toEqual(scope.split(' ').sort());
      expect(rest).toEqual({
        active: true,
        token_type: 'api_key',
        key_id: key.id,
        client_id: key.id,
        sub: service.id,
        aud: [one.api.identifier, two.api.identifier].sort(),
        iss: server.issuer,
        iat: Math.floor(key.apiKey.createdAt.getTime() / 1_000),
        exp: Math.floor(expiresAt.getTime() / 1_000),
      });
    }
  });

  test('who guards an API knows what the key is worth there, and no more', async () => {
    const { one, two, key } = await keyOfTwoApis();
    expect(await look(one.guard, key.key)).toMatchObject({
      active: true,
      scope: `${one.read} ${one.write}`,
      aud: one.api.identifier,
    });
    expect(await look(two.guard, key.key)).toMatchObject({ active: true, scope: two.read, aud: two.api.identifier });
  });

  test('the owner is the account where it is one’s', async () => {
    const { api, read, owner, ownerId, guard } = await setUpForKeys(server.domains, 'account');
    const { key } = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier] });
    expect(await look(guard, key)).toMatchObject({ active: true, sub: ownerId });
  });

  test('nobody else knows that it lives: no other client, no public one, not even another key of its owner', async () => {
    const { service, key, one } = await keyOfTwoApis();
    const sibling = await createTestApiKey(server.domains, {
      owner: { kind: 'client', clientId: service.id },
      scopes: [one.read],
      apis: [one.api.identifier],
    });
    const stranger = await createTestClient(server.domains);
    const spa = await createTestClient(server.domains, {
      mayIntrospectAny: false,
      metadata: { token_endpoint_auth_method: 'none' },
    });
    for (const caller of [stranger, spa, sibling]) expect(await look(caller, key.key)).toEqual({ active: false });
  });

  test('the hint changes nothing', async () => {
    const { one, key } = await keyOfTwoApis();
    for (const hint of ['access_token', 'refresh_token', 'api_key']) {
      expect((await look(one.guard, key.key, { token_type_hint: hint })).active).toBe(true);
    }
  });

  test('its shrunk owner’s rights are all that is shown', async () => {
    const { one, service, key } = await keyOfTwoApis();
    await server.domains.clients.update(service.id, { metadata: { scope: one.read } });
    expect((await look(service, key.key)).scope).toBe(one.read);
  });
});

describe('inactive, and no more is said,', () => {
  const swap = (key: string, at: number) => `${key.slice(0, at)}${key[at] === 'a' ? 'b' : 'a'}${key.slice(at + 1)}`;

  test.each<[string, (key: TestApiKey) => string]>([
    ['is one with a wrong checksum', ({ key }) => swap(key, 69)],
    ['is one of another id', ({ key }) => swap(key, 6)],
    ['is the id alone', ({ id }) => id],
    ['is the secret alone', ({ secret }) => secret],
    ['is a key with something behind it', ({ key }) => `${key}x`],
    ['is a key in capitals', ({ key }) => key.toUpperCase()],
  ])('%s', async (_, forged) => {
    const { service, key } = await keyOfTwoApis();
    expect(await look(service, forged(key))).toEqual({ active: false });
  });

  test('is one that was revoked, disabled or has expired, or whose owner is gone', async () => {
    const { apiKeys, accounts, clients } = server.domains;
    const any = await createTestClient(server.domains, { mayIntrospectAny: true });
    const revoked = await keyOfTwoApis();
    await apiKeys.revoke(revoked.key.apiKey.id);
    const disabled = await keyOfTwoApis();
    await apiKeys.disable(disabled.key.apiKey.id);
    const orphan = await keyOfTwoApis();
    await clients.delete(orphan.service.id);
    const ofAccount = await setUpForKeys(server.domains, 'account');
    const { owner, api, read, ownerId } = ofAccount;
    const ofDisabled = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier] });
    expect((await look(any, ofDisabled.key)).active).toBe(true);
    await accounts.disable(ownerId);
    for (const { key } of [revoked, disabled, orphan, { key: ofDisabled }]) {
      expect(await look(any, key.key)).toEqual({ active: false });
    }
    await apiKeys.enable(disabled.key.apiKey.id);
    expect((await look(any, disabled.key.key)).active).toBe(true);
    const expiring = await keyOfTwoApis({ expiresAt: new Date(Date.now() + 60_000) });
    expect((await look(any, expiring.key.key)).active).toBe(true);
    aheadMs = 61_000;
    try {
      expect(await look(any, expiring.key.key)).toEqual({ active: false });
    } finally {
      aheadMs = 0;
    }
  });

  test('is a secret that was replaced, and one that never was, though their checksums are right', async () => {
    const { service, key } = await keyOfTwoApis();
    const rolled = await server.domains.apiKeys.roll(key.apiKey.id, { overlapSeconds: 0 });
    if (!rolled.ok) throw new Error(rolled.reason);
    expect((await look(service, rolled.key)).active).toBe(true);
    expect(await look(service, key.key)).toEqual({ active: false });
    const { id } = key.apiKey;
    const guessed = formatApiKey({ id, secret: generateApiKeySecret(id) });
    expect(await look(service, guessed)).toEqual({ active: false });
  });

  test('is any to a caller that proves nothing, even with rights in the registry', async () => {
    const { one, service, key } = await keyOfTwoApis();
    const auditor = await createTestClient(server.domains, { mayIntrospectAny: true });
    const { knex } = server.domains.database;
    for (const { id } of [one.guard, auditor, service]) {
      // Past the registry, which refuses it.
      const open = '{"token_endpoint_auth_method": "none"}';
      await knex.raw('update clients set metadata = metadata || ? where id = ?', [open, id]);
      await announceChange(knex, 'clients', id);
      await until('it is refused', async () => {
        const { status, body } = await introspect(server.issuer, { id, secret: '' }, key.key);
        return status === 200 && JSON.stringify(body) === '{"active":false}';
      });
    }
  });

  test('and to a caller that does not authenticate, nothing at all', async () => {
    const { service, key } = await keyOfTwoApis();
    const { status, body } = await introspect(server.issuer, { id: service.id, secret: 'wrong' }, key.key);
    expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
    expect(body).not.toHaveProperty('active');
  });
});

describe('a key with an allow-list', () => {
  test('wants to know where it was sent from', async () => {
    const { one, key } = await keyOfTwoApis({ allowedAddresses: ['192.0.2.0/24'] });
    expect(await look(one.guard, key.key)).toEqual({ active: false, reason: 'address_required' });
    expect((await look(one.guard, key.key, { ip_address: '192.0.2.9' })).active).toBe(true);
    expect((await look(one.guard, key.key, { ip_address: '::ffff:192.0.2.9' })).active).toBe(true);
    expect(await look(one.guard, key.key, { ip_address: '198.51.100.1' })).toEqual({
      active: false,
      reason: 'address_not_allowed',
    });
    for (const nonsense of ['', 'here', '192.0.2.9, 198.51.100.1', 'fe80::1%eth0']) {
      const { reason } = await look(one.guard, key.key, { ip_address: nonsense });
      expect(reason).toBe('address_required');
    }
  });

  test('is where the request comes from when it asks about itself', async () => {
    const here = await keyOfTwoApis({ allowedAddresses: ['127.0.0.1', '::1'] });
    expect((await look(here.key, here.key.key)).active).toBe(true);
    const elsewhere = await keyOfTwoApis({ allowedAddresses: ['192.0.2.0/24'] });
    for (const parameters of [{}, { ip_address: '192.0.2.1' }]) {
      expect(await look(elsewhere.key, elsewhere.key.key, parameters)).toEqual({
        active: false,
        reason: 'address_not_allowed',
      });
    }
  });

  test('tells no reason to who may not know it', async () => {
    const { key } = await keyOfTwoApis({ allowedAddresses: ['192.0.2.0/24'] });
    const stranger = await createTestClient(server.domains);
    expect(await look(stranger, key.key)).toEqual({ active: false });
  });
});

test('uses are counted for the API that the caller guards, with the address that it named', async () => {
  const { one, two, service, key } = await keyOfTwoApis();
  await look(one.guard, key.key, { ip_address: '192.0.2.1' });
  await look(one.guard, key.key, { ip_address: '192.0.2.1' });
  await look(two.guard, key.key, { ip_address: '192.0.2.2' });
  await look(service, key.key, { ip_address: '192.0.2.3' });
  const { apiKeys } = server.domains;
  await apiKeys.flush();
  const day = new Date().toISOString().slice(0, 10);
  const usage = await apiKeys.usage({ id: key.apiKey.id }, { from: day, to: day });
  const requests = new Map(usage.map((each) => [each.api, each.requests]));
  expect(requests).toEqual(
    new Map([
      [one.api.identifier, 2],
      [two.api.identifier, 1],
      [undefined, 1],
    ]),
  );
  expect((await apiKeys.show(key.apiKey.id))?.lastUsedFrom).toBe('192.0.2.3');
});

test('a key that is known is introspected without a statement', async () => {
  const { one, key } = await keyOfTwoApis();
  await look(one.guard, key.key);
  const { pool, knex } = server.domains.database;
  const statements: string[] = [];
  pool.on('acquire', () => statements.push('of the token store'));
  // What is asked of the whole server now and then is none of the key's: whether anything has changed, and its counts.
  knex.on('query', ({ sql }: { sql: string }) => {
    if (/from "?(api_keys|clients|accounts)\b/.test(sql) && !sql.includes('api_key_usage')) statements.push(sql);
  });
  // A node that is too busy to hear of changes asks again; then it knows.
  await until(
    'it is introspected without a statement',
    async () => {
      statements.length = 0;
      for (let turn = 0; turn < 10; turn += 1) expect((await look(one.guard, key.key)).active).toBe(true);
      return statements.length === 0;
    },
    5_000,
  );
});

test('a token that begins like a key is none', async () => {
  const { api, read, service, guard } = await setUpForKeys(server.domains);
  const token = await serviceToken(server.issuer, service, { scope: read });
  const row = await server.domains.artifacts.find('ClientCredentials', token);
  const likeAKey = `tsk_${token.slice(4)}`;
  await server.domains.artifacts.upsert('ClientCredentials', likeAKey, { ...row, jti: likeAKey }, 60);
  expect(await look(guard, likeAKey)).toMatchObject({ active: true, aud: api.identifier });
});

test('a key’s tokens may be introspected by the client that owns it', async () => {
  const { api, read, owner, service } = await setUpForKeys(server.domains);
  const key = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier] });
  const token = await serviceToken(server.issuer, key);
  expect((await look(service, token)).active).toBe(true);
  const other = await createTestApi(server.domains);
  const stranger = await createServiceClient(server.domains, other.scopes[0]?.scope ?? '');
  expect(await look(stranger, token)).toEqual({ active: false });
});
