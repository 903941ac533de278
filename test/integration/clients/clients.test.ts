import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { unique } from '../../harness/factories.ts';
import { accepted, freshIdentifier, openRegistry, type Registry, serviceMetadata } from './registry.ts';

let testDatabase: TestDatabase;
let registry: Registry;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  registry = openRegistry(testDatabase);
});
afterAll(() => testDatabase.close());

async function createService(): Promise<{ id: string; secret: string }> {
  const { client, secret } = accepted(await registry.clients.create({ metadata: serviceMetadata() }));
  if (secret === undefined) throw new Error('a generated secret is shown');
  return { id: client.id, secret };
}

async function createApi(...scopes: string[]): Promise<string> {
  const identifier = freshIdentifier();
  accepted(await registry.apis.create({ identifier, scopes, tokenFormat: 'jwt' }));
  return identifier;
}

function liveSecrets(clientId: string) {
  return testDatabase.database.knex('client_secrets').where({ client_id: clientId });
}

describe('creating a client', () => {
  test('registers it as it was given, with a secret that is shown this once', async () => {
    const api = await createApi('read');
    const metadata = {
      client_id: unique('app'),
      client_name: 'Größte App 🧩',
      redirect_uris: ['https://app.example.com/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
      scope: 'openid offline_access read',
      token_endpoint_auth_method: 'client_secret_post',
    } as const;
    const origin = 'https://app.example.com';
    const { client, secret } = accepted(
      await registry.clients.create({
        metadata: { ...metadata, redirect_uris: [...metadata.redirect_uris], grant_types: [...metadata.grant_types] },
        apis: [api],
        mayIntrospectAny: true,
        allowedOrigins: [origin],
        isDemo: true,
      }),
    );
    expect(client).toEqual({
      id: metadata.client_id,
      metadata: { ...metadata, response_types: ['code'] },
      apis: [api],
      apiScopes: {},
      roles: [],
      mayIntrospectAny: true,
      allowedOrigins: [origin],
      isDemo: true,
      origin: 'operator',
      hasSecret: true,
      createdAt: new Date(registry.clock.now),
      updatedAt: new Date(registry.clock.now),
    });
    expect(Buffer.from(secret ?? '', 'base64url')).toHaveLength(32);
    expect(await registry.clients.find(client.id)).toEqual(client);
    expect(registry.audited).toContainEqual({ action: 'created', clientId: client.id });
  });

  test('takes a secret that is given, and does not show it again', async () => {
    const given = 'a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6';
    const result = accepted(await registry.clients.create({ metadata: serviceMetadata(), secret: given }));
    expect(result).not.toHaveProperty('secret');
    expect(await registry.clients.verifySecret(result.client.id, given)).toBe(true);
  });

  test('gives no secret to a client that uses none', async () => {
    const result = accepted(
      await registry.clients.create({
        metadata: {
          client_id: unique('spa'),
          redirect_uris: ['https://app.example.com/callback'],
          token_endpoint_auth_method: 'none',
        },
      }),
    );
    expect(result).not.toHaveProperty('secret');
    expect(result.client.hasSecret).toBe(false);
    expect(await registry.clients.verifySecret(result.client.id, '')).toBe(false);
    expect(await registry.clients.rotateSecret(result.client.id)).toEqual({
      ok: false,
      code: 'invalid_metadata',
      field: 'token_endpoint_auth_method',
      reason: 'token_endpoint_auth_method: none uses no secret',
    });
  });

  test('is won by one of many at once; the others are told that the id is taken', async () => {
    const metadata = serviceMetadata();
    const results = await Promise.all(Array.from({ length: 20 }, () => registry.clients.create({ metadata })));
    const [winner, ...others] = results.filter((result) => result.ok);
    expect(others).toEqual([]);
    for (const result of results) {
      if (!result.ok)
        expect(result).toMatchObject({
          code: 'conflict',
          field: 'client_id',
          reason: expect.stringContaining('is taken'),
        });
    }
    expect(await registry.clients.verifySecret(metadata.client_id, (winner?.ok && winner.secret) || '')).toBe(true);
    expect(registry.audited.filter(({ clientId }) => clientId === metadata.client_id)).toHaveLength(1);
  });

  test('is refused with an API that is not registered, naming it', async () => {
    const api = await createApi('read');
    expect(
      await registry.clients.create({ metadata: serviceMetadata(), apis: [api, 'urn:example:unknown'] }),
    ).toMatchObject({
      ok: false,
      code: 'invalid_metadata',
      field: 'apis',
      reason: 'apis: no API urn:example:unknown is registered',
    });
  });

  test('keeps its roles apart from the metadata, and has them recorded by name', async () => {
    const metadata = serviceMetadata();
    const { audited, clients } = openRegistry(testDatabase);
    const { client } = accepted(await clients.create({ metadata, roles: ['worker', 'worker', 'batch'] }));
    expect(client.roles).toEqual(['worker', 'batch']);
    expect(client.metadata).not.toHaveProperty('roles');
    expect(audited).toEqual([
      { action: 'created', clientId: client.id },
      { action: 'roles_set', clientId: client.id, roles: ['worker', 'batch'] },
    ]);
    expect(await clients.create({ metadata: { ...serviceMetadata(), roles: ['worker'] } as never })).toMatchObject({
      ok: false,
      field: 'roles',
      reason: 'roles: is not a member that can be registered',
    });
  });

  test('keeps which of its scopes it may ask for at an API, and refuses what the API has not', async () => {
    const [shared, other] = [unique('shared'), unique('other')];
    const [api, elsewhere] = [await createApi(shared, other), await createApi(shared)];
    const metadata = { ...serviceMetadata(), scope: `${shared} ${other}` };
    const apis = [api, elsewhere];
    const { client } = accepted(
      await registry.clients.create({ metadata, apis, apiScopes: { [api]: [other, other] } }),
    );
    expect(client.apiScopes).toEqual({ [api]: [other] });
    expect((await registry.clients.find(client.id))?.apiScopes).toEqual({ [api]: [other] });
    const refused = { ok: false, field: 'api_scopes', reason: `api_scopes: ${elsewhere} has no scope ${other}` };
    expect(await registry.clients.update(client.id, { apiScopes: { [elsewhere]: [other] } })).toMatchObject(refused);
  });

  test('is refused with a scope that nobody owns, naming it', async () => {
    const scope = unique('owned');
    await createApi(scope);
    const metadata = { ...serviceMetadata(), scope: `openid ${scope} nobodys` };
    expect(await registry.clients.create({ metadata })).toMatchObject({
      ok: false,
      field: 'scope',
      reason: 'scope: nobodys is neither an OpenID scope nor a scope of a registered API',
    });
    expect(await registry.clients.create({ metadata: { ...metadata, scope: `openid ${scope}` } })).toMatchObject({
      ok: true,
    });
  });

  test('is refused for the reason that the provider gives, which is shown no secret', async () => {
    const seen: object[] = [];
    const validator = {
      async validate(metadata: object) {
        seen.push(metadata);
        return { ok: false, reason: 'contacts can only contain email addresses' } as const;
      },
    };
    const metadata = serviceMetadata();
    expect(await openRegistry(testDatabase, { validator }).clients.create({ metadata })).toEqual({
      ok: false,
      code: 'invalid_metadata',
      reason: 'contacts can only contain email addresses',
    });
    expect(seen).toEqual([{ ...metadata, response_types: [], token_endpoint_auth_method: 'client_secret_basic' }]);
    expect(await registry.clients.find(metadata.client_id)).toBeUndefined();
  });

  test('names the scope that nobody owns where the provider would only say that there is one', async () => {
    const validator = { validate: async () => ({ ok: false, reason: 'some scope is not supported' }) as const };
    const { clients } = openRegistry(testDatabase, { validator });
    expect(await clients.create({ metadata: { ...serviceMetadata(), scope: 'nobodys' } })).toMatchObject({
      reason: expect.stringContaining('nobodys'),
    });
  });

  test('does not happen where it could not be audited', async () => {
    const audit = { clientChanged: () => Promise.reject(new Error('no audit')) };
    const metadata = serviceMetadata();
    await expect(openRegistry(testDatabase, { audit }).clients.create({ metadata })).rejects.toThrow('no audit');
    expect(await registry.clients.find(metadata.client_id)).toBeUndefined();
  });
});

describe('finding clients', () => {
  test('answers anything that is no client id with nothing, and asks nobody', async () => {
    for (const id of ['', 'a b', 'tsk_abc', '\0', 'ü', 'a'.repeat(129)]) {
      expect(await registry.clients.find(id)).toBeUndefined();
      expect(await registry.clients.verifySecret(id, 'x')).toBe(false);
      expect(await registry.clients.update(id, {})).toMatchObject({ code: 'not_found' });
      expect(await registry.clients.delete(id)).toMatchObject({ code: 'not_found' });
      expect(await registry.clients.rotateSecret(id)).toMatchObject({ code: 'not_found' });
    }
  });

  test('hands out what nobody can change for the others', async () => {
    const { id } = await createService();
    const client = await registry.clients.find(id);
    expect(() => client?.metadata.grant_types.push('password')).toThrow(TypeError);
  });

  test('lists them in the order of their ids, page by page', async () => {
    const prefix = unique('listed');
    const ids = ['C', 'a', 'b'].map((part) => `${prefix}-${part}`);
    for (const id of [...ids].reverse()) accepted(await registry.clients.create({ metadata: serviceMetadata(id) }));
    const listed = (await registry.clients.list()).map(({ id }) => id).filter((id) => id.startsWith(prefix));
    expect(listed).toEqual(ids);
    const page = await registry.clients.list({ after: ids[0], limit: 2 });
    expect(page.map(({ id }) => id)).toEqual(ids.slice(1));
  });
});

describe('changing a client', () => {
  test('is seen at once where it was made', async () => {
    const { id } = await createService();
    await registry.clients.find(id);
    const { client } = accepted(
      await registry.clients.update(id, { metadata: { client_name: 'New' }, mayIntrospectAny: true }),
    );
    expect(client.metadata.client_name).toBe('New');
    expect(await registry.clients.find(id)).toEqual(client);
    expect(registry.audited).toContainEqual({ action: 'updated', clientId: id });
  });

  test('at the same time loses neither of the changes', async () => {
    const { id } = await createService();
    const names = {
      client_name: 'Name',
      client_uri: 'https://a.example',
      tos_uri: 'https://a.example/tos',
      logo_uri: 'https://a.example/l',
    };
    const results = await Promise.all(
      Object.entries(names).map(([member, value]) => registry.clients.update(id, { metadata: { [member]: value } })),
    );
    for (const result of results) accepted(result);
    expect((await registry.clients.find(id))?.metadata).toMatchObject(names);
  });

  test('is refused like a new one, and changes nothing', async () => {
    const { id } = await createService();
    const before = await registry.clients.find(id);
    for (const patch of [
      { metadata: { scope: 'nobodys' } },
      { apis: ['urn:example:unknown'] },
      { metadata: { grant_types: ['authorization_code'] } },
      { allowedOrigins: ['https://*.example.com'] },
    ]) {
      expect(await registry.clients.update(id, patch)).toMatchObject({ ok: false, code: 'invalid_metadata' });
    }
    expect(await registry.clients.find(id)).toEqual(before);
    expect(registry.audited.filter(({ clientId }) => clientId === id)).toHaveLength(1);
  });

  test('is refused for the reason that the provider gives', async () => {
    const { id } = await createService();
    const validator = { validate: async () => ({ ok: false, reason: 'not so' }) as const };
    const { clients } = openRegistry(testDatabase, { validator });
    expect(await clients.update(id, { metadata: { client_name: 'New' } })).toEqual({
      ok: false,
      code: 'invalid_metadata',
      reason: 'not so',
    });
    expect((await clients.find(id))?.metadata.client_name).toBeUndefined();
  });

  test('to a method without a secret ends its secrets; back again, it gets a new one', async () => {
    const { id, secret } = await createService();
    const redirects = { redirect_uris: ['https://app.example.com/'], grant_types: ['authorization_code'] };
    const open = await registry.clients.update(id, { metadata: { ...redirects, token_endpoint_auth_method: 'none' } });
    expect(accepted(open).client.hasSecret).toBe(false);
    expect(await registry.clients.verifySecret(id, secret)).toBe(false);
    const closed = accepted(
      await registry.clients.update(id, { metadata: { token_endpoint_auth_method: 'client_secret_basic' } }),
    );
    expect(await registry.clients.verifySecret(id, secret)).toBe(false);
    expect(await registry.clients.verifySecret(id, closed.secret ?? '')).toBe(true);
  });

  test('to one that does not authenticate is refused while an API names it to introspect', async () => {
    const { id } = await createService();
    const identifier = await createApi();
    accepted(await registry.apis.update(identifier, { introspectionClientIds: [id] }));
    const redirects = { redirect_uris: ['https://app.example.com/'], grant_types: ['authorization_code'] };
    const open = { metadata: { ...redirects, token_endpoint_auth_method: 'none' } } as const;
    expect(await registry.clients.update(id, open)).toEqual({
      ok: false,
      code: 'invalid_metadata',
      field: 'token_endpoint_auth_method',
      reason: `token_endpoint_auth_method: none does not authenticate, and ${identifier} names it to introspect: take it away there first`,
    });
    accepted(await registry.apis.update(identifier, { introspectionClientIds: [] }));
    accepted(await registry.clients.update(id, open));
  });

  test('of an unknown client is refused, naming it', async () => {
    expect(await registry.clients.update('unknown', {})).toEqual({
      ok: false,
      code: 'not_found',
      reason: 'no client unknown is registered',
    });
  });
});

describe('the secrets of a client', () => {
  test('are two at the most: the new one and the one before it', async () => {
    const { id, secret: first } = await createService();
    const { secret: second } = accepted(await registry.clients.rotateSecret(id));
    const verified = (secrets: string[]) =>
      Promise.all(secrets.map((secret) => registry.clients.verifySecret(id, secret)));
    expect(await verified([first, second])).toEqual([true, true]);
    const { secret: third } = accepted(await registry.clients.rotateSecret(id));
    expect(await verified([first, second, third])).toEqual([false, true, true]);
    expect(
      registry.audited.filter(({ action, clientId }) => action === 'secret_rotated' && clientId === id),
    ).toHaveLength(2);
  });

  test('stay two under many rotations at once, and those are two that were shown', async () => {
    const { id } = await createService();
    const results = await Promise.all(Array.from({ length: 20 }, () => registry.clients.rotateSecret(id)));
    const secrets = results.map((result) => accepted(result).secret);
    expect(new Set(secrets).size).toBe(20);
    expect(await liveSecrets(id)).toHaveLength(2);
    const live = await Promise.all(secrets.map((secret) => registry.clients.verifySecret(id, secret)));
    expect(live.filter(Boolean)).toHaveLength(2);
  });

  test('are those of one client alone, and nothing but the secret itself is one', async () => {
    const [one, other] = await Promise.all([createService(), createService()]);
    const [row] = await liveSecrets(one.id);
    const digest: Buffer = row.digest;
    const pretenders = [
      other.secret,
      '',
      `${one.secret} `,
      digest.toString('hex'),
      digest.toString('base64url'),
      digest.toString('latin1'),
    ];
    for (const presented of pretenders) expect(await registry.clients.verifySecret(one.id, presented)).toBe(false);
    expect(await registry.clients.verifySecret(one.id, one.secret)).toBe(true);
  });
});

describe('deleting a client', () => {
  test('takes its secrets and its right to introspect along, even for a later client of that id', async () => {
    const { id, secret } = await createService();
    const identifier = freshIdentifier();
    accepted(
      await registry.apis.create({ identifier, scopes: [], tokenFormat: 'opaque', introspectionClientIds: [id] }),
    );
    expect(await registry.clients.delete(id)).toEqual({ ok: true, formerIntrospectionApis: [identifier] });
    expect(await registry.clients.find(id)).toBeUndefined();
    expect(await registry.clients.verifySecret(id, secret)).toBe(false);
    accepted(await registry.clients.create({ metadata: serviceMetadata(id) }));
    expect((await registry.apis.find(identifier))?.introspectionClientIds).toEqual([]);
    expect(await registry.clients.verifySecret(id, secret)).toBe(false);
    expect(registry.audited).toContainEqual({ action: 'deleted', clientId: id });
    expect(registry.audited).toContainEqual({ action: 'updated', identifier });
  });

  test('happens once', async () => {
    const { id } = await createService();
    const results = await Promise.all(Array.from({ length: 5 }, () => registry.clients.delete(id)));
    expect(results.filter(({ ok }) => ok)).toHaveLength(1);
    expect(results.find(({ ok }) => !ok)).toMatchObject({ code: 'not_found', reason: `no client ${id} is registered` });
  });
});
