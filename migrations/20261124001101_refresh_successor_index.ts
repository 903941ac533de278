import type { Knex } from 'knex';

/** Made beside what goes on, however many artifacts there are; PostgreSQL does that outside a transaction alone. */
export const config = { transaction: false };

/**
 * Serves the wiping of successors alone, and holds what was rotated since the last one. `consumed_at` stays out of it: an
 * index that named it would make every redemption of a code touch all indexes of its row.
 */
export async function up(knex: Knex): Promise<void> {
  // One that was interrupted leaves an index that is not valid.
  await down(knex);
  await knex.raw('create index concurrently artifacts_successor on artifacts (id) where successor is not null');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index concurrently if exists artifacts_successor');
}
