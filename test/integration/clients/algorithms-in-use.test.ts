import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { clientMetadataSchema } from '../../../src/clients/client-metadata-schema.ts';
import { algorithmsInUse } from '../../../src/clients/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { unique } from '../../harness/factories.ts';
import { freshIdentifier } from './registry.ts';

let testDatabase: TestDatabase;
beforeEach(async () => {
  testDatabase = await openTestDatabase();
});
afterEach(() => testDatabase.close());

const inUse = async () => (await algorithmsInUse(testDatabase.database.knex)).toSorted();
const now = new Date();

async function putClient(metadata: Record<string, string>): Promise<void> {
  const id = unique('client');
  await testDatabase.database
    .knex('clients')
    .insert({ id, metadata: { client_id: id, ...metadata }, created_at: now, updated_at: now });
}

async function putApi(tokenFormat: 'jwt' | 'opaque', signingAlgorithm: string): Promise<void> {
  await testDatabase.database.knex('apis').insert({
    identifier: freshIdentifier(),
    name: 'Orders',
    scopes: '[]',
    token_format: tokenFormat,
    signing_algorithm: signingAlgorithm,
    ttl_seconds: 600,
    created_at: now,
    updated_at: now,
  });
}

/** As they may be registered, so that one that is added is looked for here, too. */
const signedResponses = Object.keys(clientMetadataSchema.shape).filter((name) => name.endsWith('_signed_response_alg'));

describe('an algorithm is in use', () => {
  test('always where it is RS256', async () => {
    expect(await inUse()).toEqual(['RS256']);
  });

  test.each(signedResponses)('where a client wants it by %s', async (member) => {
    await putClient({ [member]: 'EdDSA' });
    await putClient({ [member]: 'EdDSA' });
    expect(await inUse()).toEqual(['EdDSA', 'RS256']);
  });

  test('where the tokens of an API are signed by it, and not where they are opaque', async () => {
    await putApi('opaque', 'ES256');
    expect(await inUse()).toEqual(['RS256']);
    await putApi('jwt', 'ES256');
    expect(await inUse()).toEqual(['ES256', 'RS256']);
  });

  test('not where it is the client that signs', async () => {
    await putClient({ token_endpoint_auth_signing_alg: 'ES256', request_object_signing_alg: 'PS256' });
    expect(await inUse()).toEqual(['RS256']);
  });
});
