import type { Knex } from 'knex';

/** One row per topic, counted up in the transaction that changes something: by it a node sees what a lost NOTIFY would have said. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('revisions', (table) => {
    table.text('topic').primary();
    table.bigInteger('revision').notNullable().defaultTo(0);
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('revisions');
}
