import type { Knex } from 'knex';

/** Counters of sign-in attempts. Columns and their order are those that rate-limiter-flexible writes; keys are pseudonyms. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('sign_in_attempts', (table) => {
    table.string('key', 255).primary();
    table.integer('points').notNullable().defaultTo(0);
    table.bigInteger('expire').index().comment('epoch milliseconds');
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sign_in_attempts');
}
