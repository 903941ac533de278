import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { freshIdentifier } from './registry.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ environment: { DATABASE_POOL_SIZE: '4' } });
});
afterAll(() => server.close());

test('any number of APIs are registered at once, however few connections there are', async () => {
  const inputs = Array.from({ length: 20 }, () => {
    const identifier = freshIdentifier();
    return { identifier, scopes: [`${identifier}:read`], tokenFormat: 'jwt', signingAlgorithm: 'ES256' } as const;
  });
  const created = await Promise.all(inputs.map((input) => server.domains.apis.create(input)));
  expect(created.filter(({ ok }) => !ok)).toEqual([]);
});
