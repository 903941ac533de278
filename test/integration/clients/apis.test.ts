import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DetailsType } from '../../../src/clients/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { unique } from '../../harness/factories.ts';
import { paymentType } from '../../harness/payments.ts';
import { accepted, freshIdentifier, openRegistry, type Registry, serviceMetadata } from './registry.ts';

let testDatabase: TestDatabase;
let registry: Registry;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  registry = openRegistry(testDatabase);
});
afterAll(() => testDatabase.close());

async function createApi(scopes: string[]): Promise<string> {
  const identifier = freshIdentifier();
  accepted(await registry.apis.create({ identifier, scopes, tokenFormat: 'jwt' }));
  return identifier;
}

async function createClient(input: { scope?: string; apis?: string[] } = {}): Promise<string> {
  const metadata = { ...serviceMetadata(), ...(input.scope === undefined ? {} : { scope: input.scope }) };
  return accepted(await registry.clients.create({ metadata, apis: input.apis })).client.id;
}

async function createPublicClient(): Promise<string> {
  const metadata = {
    client_id: unique('public'),
    redirect_uris: ['https://app.example.com/'],
    token_endpoint_auth_method: 'none' as const,
  };
  return accepted(await registry.clients.create({ metadata })).client.id;
}

describe('creating an API', () => {
  test('registers it as it was given', async () => {
    const resourceServer = await createClient();
    const input = {
      identifier: freshIdentifier(),
      name: 'Orders',
      scopes: [{ scope: 'orders:read', description: 'See your orders' }],
      tokenFormat: 'opaque',
      signingAlgorithm: 'ES256',
      ttlSeconds: 120,
      introspectionClientIds: [resourceServer],
      isOpenToUnregistered: true,
      isDemo: true,
    } as const;
    const { api } = accepted(await registry.apis.create(input));
    const at = new Date(registry.clock.now);
    expect(api).toEqual({ ...input, detailsTypes: [], createdAt: at, updatedAt: at });
    expect(await registry.apis.find(input.identifier)).toEqual(api);
    expect(await registry.apis.list()).toContainEqual(api);
    expect(registry.audited).toContainEqual({ action: 'created', identifier: input.identifier });
  });

  test('is won by one of many at once; the others are told that the identifier is taken', async () => {
    const input = { identifier: freshIdentifier(), scopes: [], tokenFormat: 'jwt' } as const;
    const results = await Promise.all(Array.from({ length: 10 }, () => registry.apis.create(input)));
    expect(results.filter(({ ok }) => ok)).toHaveLength(1);
    expect(results.find(({ ok }) => !ok)).toEqual({
      ok: false,
      code: 'conflict',
      field: 'identifier',
      reason: `identifier: ${input.identifier} is taken`,
    });
  });

  test('may share the name of a scope with another API: the resource tells them apart', async () => {
    const scope = unique('shared');
    await createApi([scope]);
    await createApi([scope]);
  });

  test.each(['unknown', 'a\0b'])('is refused with an introspection client that is not registered', async (clientId) => {
    expect(
      await registry.apis.create({
        identifier: freshIdentifier(),
        scopes: [],
        tokenFormat: 'jwt',
        introspectionClientIds: [clientId],
      }),
    ).toMatchObject({
      ok: false,
      field: 'introspectionClientIds',
      reason: `introspectionClientIds: no client ${clientId} is registered`,
    });
  });

  test('is refused with an introspection client that does not authenticate', async () => {
    const clientId = await createPublicClient();
    expect(
      await registry.apis.create({
        identifier: freshIdentifier(),
        scopes: [],
        tokenFormat: 'jwt',
        introspectionClientIds: [await createClient(), clientId],
      }),
    ).toMatchObject({
      ok: false,
      field: 'introspectionClientIds',
      reason: `introspectionClientIds: ${clientId} does not authenticate: anybody could ask in its name`,
    });
  });

  test('is refused when it is malformed', async () => {
    const input = { identifier: 'urn:example:a#b', scopes: [], tokenFormat: 'jwt' } as const;
    expect(await registry.apis.create(input)).toMatchObject({
      ok: false,
      code: 'invalid_metadata',
      field: 'identifier',
    });
  });
});

describe('changing an API', () => {
  test('keeps what it does not name', async () => {
    const identifier = await createApi(['read']);
    const { api } = accepted(await registry.apis.update(identifier, { ttlSeconds: 30, scopes: ['read', 'write'] }));
    expect(api).toMatchObject({ ttlSeconds: 30, tokenFormat: 'jwt', name: identifier });
    expect(api.scopes.map(({ scope }) => scope)).toEqual(['read', 'write']);
    expect(registry.audited).toContainEqual({ action: 'updated', identifier });
  });

  test('never leaves a client with a scope that no API owns', async () => {
    const [kept, gone] = [unique('kept'), unique('gone')];
    const identifier = await createApi([kept, gone]);
    const clientId = await createClient({ scope: `${kept} ${gone}` });
    expect(await registry.apis.update(identifier, { scopes: [kept] })).toEqual({
      ok: false,
      code: 'in_use',
      reason: `client ${clientId} is registered for scopes that no other API owns (${gone}): take them away there first`,
    });
    const other = await createApi([gone]);
    expect(await registry.apis.update(identifier, { scopes: [kept] })).toMatchObject({ ok: true });
    expect(await registry.apis.delete(other)).toMatchObject({ ok: false, code: 'in_use' });
  });

  test('to be introspected by a client that does not authenticate is refused', async () => {
    const identifier = await createApi([]);
    const introspectionClientIds = [await createPublicClient()];
    expect(await registry.apis.update(identifier, { introspectionClientIds })).toMatchObject({
      ok: false,
      field: 'introspectionClientIds',
    });
  });

  test('is refused for an unknown one, naming it', async () => {
    for (const identifier of ['urn:example:unknown', 'a\0b']) {
      const refusal = { ok: false, code: 'not_found', reason: `no API ${identifier} is registered` };
      expect(await registry.apis.find(identifier)).toBeUndefined();
      expect(await registry.apis.update(identifier, {})).toEqual(refusal);
      expect(await registry.apis.delete(identifier)).toEqual(refusal);
    }
  });
});

describe('deleting an API', () => {
  test('is refused while clients are registered for it: without their last API they might call every other one', async () => {
    const identifier = await createApi([]);
    const ids = [await createClient({ apis: [identifier] }), await createClient({ apis: [identifier] })].sort();
    expect(await registry.apis.delete(identifier)).toEqual({
      ok: false,
      code: 'in_use',
      reason: `clients ${ids.join(', ')} are registered for ${identifier}: name other APIs there first`,
    });
    for (const id of ids) accepted(await registry.clients.delete(id));
    expect(await registry.apis.delete(identifier)).toEqual({ ok: true });
    expect(await registry.apis.find(identifier)).toBeUndefined();
    expect(registry.audited).toContainEqual({ action: 'deleted', identifier });
  });

  test('is refused while clients have its scopes', async () => {
    const scope = unique('scope');
    const identifier = await createApi([scope]);
    const clientId = await createClient({ scope });
    expect(await registry.apis.delete(identifier)).toMatchObject({
      ok: false,
      code: 'in_use',
      reason: expect.stringContaining(clientId),
    });
  });

  test('while a client is created for it leaves either the API or no client', async () => {
    for (let round = 0; round < 10; round += 1) {
      const scope = unique('scope');
      const identifier = await createApi([scope]);
      const metadata = { ...serviceMetadata(), scope };
      const apis = round % 2 === 0 ? [identifier] : [];
      const [created, deleted] = await Promise.all([
        registry.clients.create({ metadata, apis }),
        registry.apis.delete(identifier),
      ]);
      expect(created.ok).toBe(!deleted.ok);
      expect((await registry.apis.find(identifier)) !== undefined).toBe(created.ok);
    }
  });
});

describe('the snapshot', () => {
  test('is not there before it was loaded', () => {
    expect(() => openRegistry(testDatabase).apis.all()).toThrow('the APIs have not been loaded');
  });

  test('is renewed by every change made here, and listeners hear of it once', async () => {
    const { apis } = openRegistry(testDatabase);
    await apis.load();
    const heard: number[] = [];
    apis.onChange((all) => void heard.push(all.length));
    const before = apis.all();
    const identifier = freshIdentifier();
    accepted(await apis.create({ identifier, scopes: [], tokenFormat: 'jwt' }));
    expect(apis.all().map((api) => api.identifier)).toEqual(
      [...before.map((api) => api.identifier), identifier].sort(),
    );
    accepted(await apis.delete(identifier));
    expect(apis.all()).toEqual(before);
    expect(heard).toEqual([before.length + 1, before.length]);
  });
});

describe('the types of authorization details of an API', () => {
  const withType = (type: DetailsType) => ({
    identifier: freshIdentifier(),
    scopes: [],
    tokenFormat: 'jwt' as const,
    detailsTypes: [type],
  });

  test('belong to no other API', async () => {
    const type = paymentType();
    const first = accepted(await registry.apis.create(withType(type))).api;
    expect(await registry.apis.create(withType(type))).toMatchObject({
      code: 'invalid_metadata',
      reason: `detailsTypes: ${type.type} belongs to ${first.identifier}`,
    });
  });

  test('stay while a client is registered for them, and the API with them', async () => {
    const type = paymentType();
    const { api } = accepted(await registry.apis.create(withType(type)));
    const metadata = { ...serviceMetadata(), authorization_details_types: [type.type] };
    const { client } = accepted(await registry.clients.create({ metadata }));
    const reason = `client ${client.id} is registered for ${type.type}: take it away there first`;
    const { identifier } = api;
    expect(await registry.apis.update(identifier, { detailsTypes: [] })).toMatchObject({ code: 'in_use', reason });
    expect(await registry.apis.delete(identifier)).toMatchObject({ code: 'in_use', reason });
    accepted(await registry.clients.update(client.id, { metadata: { authorization_details_types: [] } }));
    accepted(await registry.apis.update(identifier, { detailsTypes: [] }));
  });

  test('are registered by clients that may call their API alone', async () => {
    const type = paymentType();
    const other = await createApi([]);
    const { api } = accepted(await registry.apis.create(withType(type)));
    const create = (types: string[], apis: string[]) =>
      registry.clients.create({ metadata: { ...serviceMetadata(), authorization_details_types: types }, apis });
    expect(await create(['nobody-has-it'], [])).toMatchObject({ field: 'authorization_details_types' });
    expect(await create([type.type], [other])).toMatchObject({ field: 'authorization_details_types' });
    accepted(await create([type.type], [api.identifier]));
  });
});
