import { expect, test } from '@jest/globals';
import type { Knex } from 'knex';
import { migrateDown, migrateUp, migrationStatus } from '../../../src/database/index.ts';
import { openTestDatabase } from '../../harness/database.ts';
import { until } from '../../harness/until.ts';

const INDEX_MIGRATION = '20261124001101_refresh_successor_index.ts';

/** As far as the version before had come. */
async function takeBackIndex(knex: Knex): Promise<void> {
  await knex.raw('drop index artifacts_successor');
  await knex('migrations').where({ name: INDEX_MIGRATION }).delete();
}

async function isIndexValid(knex: Knex): Promise<boolean> {
  const { rows } = await knex.raw<{ rows: { indisvalid: boolean }[] }>(
    `select indisvalid from pg_index where indexrelid = to_regclass('artifacts_successor')`,
  );
  return rows[0]?.indisvalid === true;
}

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

test('an index on a table of requests is made beside them: neither looks nor writes wait for it', async () => {
  const { database, close } = await openTestDatabase();
  const { knex } = database;
  try {
    await takeBackIndex(knex);
    const use = () => knex('artifacts').update({ successor: null });
    const open = await knex.transaction();
    await open('artifacts').update({ successor: null });
    const migrated = migrateUp(knex);
    await until('the index waits for what began before it', async () => {
      const { rows } = await knex.raw(
        `select 1 from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query like 'create index%'`,
      );
      return rows.length > 0;
    });
    await use();
    await knex('artifacts').first();
    await open.commit();
    expect(await migrated).toEqual([INDEX_MIGRATION]);
    expect(await isIndexValid(knex)).toBe(true);
  } finally {
    await close();
  }
});

test('a migration that was killed half way keeps the next one from nothing', async () => {
  const { database, close } = await openTestDatabase();
  const { knex } = database;
  try {
    await knex('migrations').where({ name: INDEX_MIGRATION }).delete();
    await knex.raw(`update pg_index set indisvalid = false where indexrelid = to_regclass('artifacts_successor')`);
    await knex('migrations_lock').update({ is_locked: 1 });
    expect(await migrateUp(knex)).toEqual([INDEX_MIGRATION]);
    expect(await isIndexValid(knex)).toBe(true);
  } finally {
    await close();
  }
});

test('what one call applied another one takes back, whatever went in a transaction of its own', async () => {
  const { database, close } = await openTestDatabase({ isMigrated: false });
  const { knex } = database;
  try {
    const applied = await migrateUp(knex);
    expect(applied).toContain(INDEX_MIGRATION);
    expect(await migrateDown(knex)).toEqual(applied.toReversed());
    expect((await migrationStatus(knex)).applied).toEqual([]);
  } finally {
    await close();
  }
});
