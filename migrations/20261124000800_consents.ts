import type { Knex } from 'knex';

/** What a person has allowed a client, remembered beyond the session in which it was asked. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('consents', (table) => {
    table.text('account_id').notNullable();
    table.text('client_id').notNullable();
    table.specificType('scopes', 'text[]').notNullable().defaultTo('{}');
    table.specificType('claims', 'text[]').notNullable().defaultTo('{}');
    table.jsonb('resource_scopes').notNullable().defaultTo('{}');
    table.timestamp('updated_at', { useTz: true }).notNullable();
    table.primary(['account_id', 'client_id']);
    table.index('client_id');
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('consents');
}
