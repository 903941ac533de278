import type { Knex } from 'knex';

/** Clients that nobody registered, because a document at their own URL describes them: what they may call, and which are refused. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('apis', (table) => {
    table.boolean('is_open_to_unregistered').notNullable().defaultTo(false);
  });
  await knex.schema.createTable('client_blocks', (table) => {
    table.text('pattern').primary().comment('a URL, or a host with everything below it');
    table.timestamp('created_at', { useTz: true }).notNullable();
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('client_blocks');
  await knex.schema.alterTable('apis', (table) => table.dropColumn('is_open_to_unregistered'));
}
