import type { Knex } from 'knex';

/** The types of authorization details that an API understands (RFC 9396). */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('apis', (table) => {
    table.jsonb('details_types').notNullable().defaultTo('[]');
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('apis', (table) => table.dropColumn('details_types'));
}
