import { expect, test } from '@jest/globals';
import { migrationStatus } from '../../../src/database/index.ts';
import { openTestDatabase } from '../../harness/database.ts';

test('a migration of a newer version is no fault of a node of the older one', async () => {
  const { database, close } = await openTestDatabase();
  try {
    await database.knex('migrations').insert({ name: '29991231000000_later.ts', batch: 2, migration_time: new Date() });
    expect((await migrationStatus(database.knex)).pending).toEqual([]);
  } finally {
    await close();
  }
});

test('a migration that has not been applied is pending', async () => {
  const { database, close } = await openTestDatabase();
  try {
    await database.knex('migrations').where('name', '20261124000800_consents.ts').delete();
    expect((await migrationStatus(database.knex)).pending).toEqual(['20261124000800_consents.ts']);
  } finally {
    await close();
  }
});
