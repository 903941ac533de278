import type { Knex } from 'knex';
import { AppError } from '../errors.ts';
import type { Logger } from '../telemetry/index.ts';
import { migrateUp, migrationStatus } from './migrate.ts';

/**
 * A developer's server migrates by itself; elsewhere a schema changes when an operator says so.
 *
 * @throws {AppError} `configuration` where migrations are pending and not to be applied here
 */
export async function ensureSchema(knex: Knex, options: { migrates: boolean; logger: Logger }): Promise<void> {
  if (options.migrates) {
    const applied = await migrateUp(knex);
    if (applied.length > 0) options.logger.info({ migrations: applied.length }, 'the database schema is up to date');
    return;
  }
  const { pending } = await migrationStatus(knex);
  if (pending.length === 0) return;
  throw new AppError({
    code: 'configuration',
    message: `DATABASE_URL wants ${pending.length} migration(s) first: run "tessera migrate up"`,
  });
}
