import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { unique } from '../../harness/factories.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';
import { accepted, freshIdentifier, openRegistry, type Registry, serviceMetadata } from './registry.ts';

let testDatabase: TestDatabase;
let here: Registry;
let elsewhere: Registry;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
  here = openRegistry(testDatabase);
  elsewhere = openRegistry(testDatabase);
  await Promise.all([here.changeFeed.start(), elsewhere.changeFeed.start()]);
  await here.apis.load();
});
afterAll(async () => {
  await Promise.all([here.changeFeed.close(), elsewhere.changeFeed.close()]);
  await testDatabase.close();
});

// The clocks stand still: what is seen here was dropped from the cache by the feed, and did not just grow old.
describe('within a second this node follows what another one', () => {
  test('creates, even when it was asked for just before', async () => {
    const metadata = serviceMetadata();
    expect(await here.clients.find(metadata.client_id)).toBeUndefined();
    accepted(await elsewhere.clients.create({ metadata }));
    await until(
      'the client is known',
      async () => (await here.clients.find(metadata.client_id)) !== undefined,
      SEEN_WITHIN_MS,
    );
  });

  test('changes, rotates and deletes', async () => {
    const { client, secret = '' } = accepted(await elsewhere.clients.create({ metadata: serviceMetadata() }));
    const { id } = client;
    await until('the secret is good', () => here.clients.verifySecret(id, secret), SEEN_WITHIN_MS);

    accepted(await elsewhere.clients.update(id, { metadata: { client_name: 'Renamed' } }));
    await until(
      'the name is known',
      async () => (await here.clients.find(id))?.metadata.client_name === 'Renamed',
      SEEN_WITHIN_MS,
    );

    const rotated = accepted(await elsewhere.clients.rotateSecret(id));
    await until('the new secret is good', () => here.clients.verifySecret(id, rotated.secret), SEEN_WITHIN_MS);
    accepted(await elsewhere.clients.rotateSecret(id));
    await until(
      'the old secret is not good',
      async () => !(await here.clients.verifySecret(id, secret)),
      SEEN_WITHIN_MS,
    );

    accepted(await elsewhere.clients.delete(id));
    await until('the client is gone', async () => (await here.clients.find(id)) === undefined, SEEN_WITHIN_MS);
  });

  test('does to APIs, and listeners hear of every state once', async () => {
    const heard: number[] = [];
    const before = here.apis.all().length;
    here.apis.onChange((apis) => void heard.push(apis.length - before));
    const identifier = freshIdentifier();
    const ttl = () => here.apis.all().find((api) => api.identifier === identifier)?.ttlSeconds;

    accepted(await elsewhere.apis.create({ identifier, scopes: [unique('s')], tokenFormat: 'jwt' }));
    await until('the API is known', () => ttl() === 600, SEEN_WITHIN_MS);
    accepted(await elsewhere.apis.update(identifier, { ttlSeconds: 60 }));
    await until('its lifetime is known', () => ttl() === 60, SEEN_WITHIN_MS);
    accepted(await elsewhere.apis.delete(identifier));
    await until('the API is gone', () => ttl() === undefined, SEEN_WITHIN_MS);
    expect(heard).toEqual([1, 1, 0]);
  });

  test('deletes: a client that an API had named for introspection', async () => {
    const { client } = accepted(await elsewhere.clients.create({ metadata: serviceMetadata() }));
    const identifier = freshIdentifier();
    const named = () => here.apis.all().find((api) => api.identifier === identifier)?.introspectionClientIds;
    accepted(
      await elsewhere.apis.create({ identifier, scopes: [], tokenFormat: 'jwt', introspectionClientIds: [client.id] }),
    );
    await until('the client may introspect', () => named()?.length === 1, SEEN_WITHIN_MS);
    accepted(await elsewhere.clients.delete(client.id));
    await until('the client may not introspect', () => named()?.length === 0, SEEN_WITHIN_MS);
  });
});

test('a node whose feed says nothing follows when its answers have grown old, still within a second', async () => {
  const deaf = openRegistry(testDatabase);
  const { client } = accepted(await elsewhere.clients.create({ metadata: serviceMetadata() }));
  expect(await deaf.clients.find(client.id)).toBeDefined();
  accepted(await elsewhere.clients.delete(client.id));
  expect(await deaf.clients.find(client.id)).toBeDefined();
  deaf.clock.now += 999;
  expect(await deaf.clients.find(client.id)).toBeUndefined();
});

test('the listeners of the node that makes a change are not called again when the feed tells it too', async () => {
  const heard: number[] = [];
  const told: (string | undefined)[] = [];
  const identifier = freshIdentifier();
  here.apis.onChange((apis) => void heard.push(apis.length));
  // Subscribed after the registry, so it hears of a change when the registry has dealt with it.
  here.changeFeed.subscribe('apis', (id) => void told.push(id));
  accepted(await here.apis.create({ identifier, scopes: [], tokenFormat: 'jwt' }));
  await until('it is told', () => told.includes(identifier) || told.includes(undefined), SEEN_WITHIN_MS);
  expect(heard).toHaveLength(1);
});

test('a listener that could not take a change over is called again with the same state', async () => {
  const registry = openRegistry(testDatabase);
  await registry.apis.load();
  const calls: number[] = [];
  registry.apis.onChange((apis) => {
    calls.push(apis.length);
    if (calls.length === 1) throw new Error('not now');
  });
  const identifier = freshIdentifier();
  accepted(await registry.apis.create({ identifier, scopes: [], tokenFormat: 'jwt' }));
  try {
    await registry.changeFeed.start();
    await until('the listener is called again', () => calls.length > 1, SEEN_WITHIN_MS);
  } finally {
    await registry.changeFeed.close();
  }
  expect(new Set(calls).size).toBe(1);
});
