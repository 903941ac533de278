import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { accepted, openRegistry, serviceMetadata } from './registry.ts';

let testDatabase: TestDatabase;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
});
afterAll(() => testDatabase.close());

/** Every row of every table as text, and every binary column also as its raw bytes would read in base64url. */
async function dump(): Promise<string> {
  const { knex } = testDatabase.database;
  const tables = await knex('pg_tables').where({ schemaname: 'public' }).select('tablename');
  const rows = await Promise.all(
    tables.map(({ tablename }) => knex(tablename).select(knex.raw('to_jsonb(??)::text as row', [tablename]))),
  );
  const digests: { digest: Buffer }[] = await knex('client_secrets').select('digest');
  const binary = digests.flatMap(({ digest }) => [
    digest.toString('latin1'),
    digest.toString('base64url'),
    digest.toString('base64'),
  ]);
  return [...rows.flat().map(({ row }) => row), ...binary].join('\n');
}

test('who has stolen every table has no secret: neither generated, nor given, nor replaced', async () => {
  const { clients } = openRegistry(testDatabase);
  const given = 'given-a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6';
  const generated = accepted(await clients.create({ metadata: serviceMetadata() }));
  const brought = accepted(await clients.create({ metadata: serviceMetadata(), secret: given }));
  const rotated = [
    accepted(await clients.rotateSecret(generated.client.id)).secret,
    accepted(await clients.rotateSecret(brought.client.id)).secret,
  ];
  const stolen = await dump();
  expect(stolen).toContain(generated.client.id);
  for (const secret of [generated.secret ?? '', given, ...rotated]) {
    expect(secret.length).toBeGreaterThanOrEqual(32);
    for (const form of [
      secret,
      Buffer.from(secret).toString('hex'),
      Buffer.from(secret, 'base64url').toString('hex'),
    ]) {
      expect(stolen).not.toContain(form);
    }
  }
});

test('the table itself refuses metadata that bear a secret', async () => {
  const { knex } = testDatabase.database;
  const { client } = accepted(await openRegistry(testDatabase).clients.create({ metadata: serviceMetadata() }));
  for (const member of ['client_secret', 'registration_access_token']) {
    const metadata = JSON.stringify({ ...client.metadata, [member]: 'x' });
    await expect(knex('clients').where({ id: client.id }).update({ metadata })).rejects.toThrow(/bears_no_secret/);
  }
});
