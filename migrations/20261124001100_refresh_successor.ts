import type { Knex } from 'knex';

/**
 * What a refresh token was rotated into, sealed with the parent's row; wiped once the leeway has passed
 * (docs/refresh-tokens.md).
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw('alter table artifacts add column successor text');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table artifacts drop column successor');
}
