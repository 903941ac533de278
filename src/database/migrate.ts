import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import createKnex, { type Knex } from 'knex';
import { tryAdvisoryLock } from './advisory-locks.ts';

/** Where the migrations are and where their state is kept; knexfile.ts and the command line share it. */
export const migrationSettings = {
  directory: fileURLToPath(new URL('../../migrations', import.meta.url)),
  tableName: 'migrations',
  loadExtensions: ['.ts'],
} satisfies Knex.MigratorConfig;

export type MigrationStatus = { applied: string[]; pending: string[] };

/**
 * Brings the schema up to date; nodes that start at once wait for one another.
 *
 * @returns the names applied now: one batch, which `migrateDown` takes back
 */
export async function migrateUp(knex: Knex): Promise<string[]> {
  return withMigrationLock(knex, async (migrator) => {
    const { pending } = await migrationStatus(migrator);
    // knex gives up its one transaction for all where a single migration can't be in it. What was applied and what was
    // recorded could differ then, for every one of them, when the process is killed.
    for (const name of await lastOfEachTransaction(pending)) {
      await migrator.migrate.to({ ...migrationSettings, name });
    }
    await migrator('migrations')
      .whereIn('name', pending)
      .update({ batch: migrator('migrations').whereIn('name', pending).min('batch') });
    return pending;
  });
}

/** Names of migrations, in their order: all until one of them go in a transaction, or it goes in none. */
async function lastOfEachTransaction(names: readonly string[]): Promise<string[]> {
  const isInOne: boolean[] = [];
  for (const name of names) {
    const migration: { config?: { transaction?: boolean } } = await import(join(migrationSettings.directory, name));
    isInOne.push(migration.config?.transaction !== false);
  }
  return names.filter((_, index) => !isInOne[index] || isInOne[index + 1] !== true);
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

/** Between two looks at the lock, in milliseconds: migrations take a moment, and nobody counts the looks. */
const LOCK_PAUSE_MS = 100;

/**
 * knex refuses the second of two concurrent migrators with an error. This waits instead. The lock is scoped to a
 * transaction, so that it also holds behind a pooler, and nothing else is done in that transaction.
 */
async function withMigrationLock<T>(knex: Knex, work: (migrator: Knex) => Promise<T>): Promise<T> {
  const migrator = withoutLimits(knex);
  try {
    return await migrator.transaction(async (lock) => {
      // Not by a statement that waits: `create index concurrently` waits for the end of every other statement.
      while (!(await tryAdvisoryLock(lock, 'migrations'))) await delay(LOCK_PAUSE_MS);
      // Left behind by one that was killed: whoever holds ours is alone.
      await migrator.migrate.forceFreeMigrationsLock(migrationSettings);
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
