import { fileURLToPath } from 'node:url';
import createKnex, { type Knex } from 'knex';

/** Where the migrations are and where their state is kept; knexfile.ts and the command line share it. */
export const migrationSettings: Knex.MigratorConfig = {
  directory: fileURLToPath(new URL('../../migrations', import.meta.url)),
  tableName: 'migrations',
  loadExtensions: ['.ts'],
};

export type MigrationStatus = { applied: string[]; pending: string[] };

/** Brings the schema up to date; nodes that start at once wait for one another. @returns the names applied now */
export async function migrateUp(knex: Knex): Promise<string[]> {
  return withMigrationLock(knex, async (migrator) => {
    const [, names] = await migrator.migrate.latest(migrationSettings);
    return names as string[];
  });
}

/** Takes back the newest batch of migrations. @returns the names taken back */
export async function migrateDown(knex: Knex): Promise<string[]> {
  return withMigrationLock(knex, async (migrator) => {
    const [, names] = await migrator.migrate.rollback(migrationSettings);
    return names as string[];
  });
}

/**
 * Which migrations have been applied and which have not. One that a newer version has applied is no fault of the older
 * one, which goes on serving while nodes are replaced one by one.
 */
export async function migrationStatus(knex: Knex): Promise<MigrationStatus> {
  const [applied, pending] = await knex.migrate.list({ ...migrationSettings, disableMigrationsListValidation: true });
  return {
    applied: applied.map((migration: { name: string }) => migration.name),
    pending: pending.map((migration: { file: string }) => migration.file),
  };
}

const MIGRATION_LOCK = 7_355_608;

/**
 * knex refuses the second of two concurrent migrators with an error. This waits instead. The lock is scoped to a
 * transaction, so that it also holds behind a pooler, and nothing else is done in that transaction.
 */
async function withMigrationLock<T>(knex: Knex, work: (migrator: Knex) => Promise<T>): Promise<T> {
  const migrator = withoutLimits(knex);
  try {
    return await migrator.transaction(async (lock) => {
      await lock.raw('select pg_advisory_xact_lock(?)', [MIGRATION_LOCK]);
      return work(migrator);
    });
  } finally {
    await migrator.destroy();
  }
}

/** Connections of its own: what is right for a request, an end after seconds, would cut off an index on a large table. */
function withoutLimits(knex: Knex): Knex {
  const { connection, ...settings } = knex.client.config as Omit<Knex.Config, 'connection'> & {
    connection: Knex.PgConnectionConfig;
  };
  return createKnex({
    ...settings,
    connection: { ...connection, statement_timeout: 0, query_timeout: 0 },
    // One holds the lock.
    pool: { min: 0, max: 2 },
  });
}
