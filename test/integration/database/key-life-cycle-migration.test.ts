import { expect, test } from '@jest/globals';
import { down, up } from '../../../migrations/20261124000900_key_life_cycle.ts';
import { openTestDatabase } from '../../harness/database.ts';

test('the version before keeps every client: those that want an algorithm that it lacks get RS256', async () => {
  const { database, close } = await openTestDatabase();
  try {
    const now = new Date();
    await database.knex('clients').insert(
      [
        {
          id: 'newer',
          metadata: {
            id_token_signed_response_alg: 'PS256',
            userinfo_signed_response_alg: 'EdDSA',
            authorization_signed_response_alg: 'ES256',
            request_object_signing_alg: 'PS256',
          },
        },
        { id: 'older', metadata: { id_token_signed_response_alg: 'ES256', client_name: 'PS256' } },
        { id: 'plain', metadata: {} },
      ].map((client) => ({ ...client, created_at: now, updated_at: now })),
    );
    await database.knex.transaction(down);
    expect(await database.knex('clients').select('id', 'metadata', 'revision').orderBy('id')).toEqual([
      {
        id: 'newer',
        metadata: {
          id_token_signed_response_alg: 'RS256',
          userinfo_signed_response_alg: 'RS256',
          authorization_signed_response_alg: 'ES256',
          // The client signs it.
          request_object_signing_alg: 'PS256',
        },
        revision: 2,
      },
      { id: 'older', metadata: { id_token_signed_response_alg: 'ES256', client_name: 'PS256' }, revision: 1 },
      { id: 'plain', metadata: {}, revision: 1 },
    ]);
    await database.knex.transaction(up);
  } finally {
    await close();
  }
});
