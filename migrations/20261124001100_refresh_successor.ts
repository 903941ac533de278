import type { Knex } from 'knex';

/**
 * What a refresh token was rotated into, sealed with the parent's row; wiped once the leeway has passed
 * (docs/refresh-tokens.md).
 *
 * The index serves the wiping alone and holds what was rotated within the last minute. `consumed_at` stays out of it:
 * an index that named it would make every redemption of a code touch all indexes of its row.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw('alter table artifacts add column successor text');
  await knex.raw('create index artifacts_successor on artifacts (id) where successor is not null');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index artifacts_successor');
  await knex.raw('alter table artifacts drop column successor');
}
