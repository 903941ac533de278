import type { Knex } from 'knex';

/**
 * What a person has allowed a client, remembered beyond the session in which it was asked. It goes with either of them: a
 * client's id may be given to another one.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('consents', (table) => {
    table.uuid('account_id').notNullable().references('accounts.id').onDelete('CASCADE');
    table.text('client_id').notNullable().references('clients.id').onDelete('CASCADE').index();
    table.specificType('scopes', 'text[]').notNullable().defaultTo('{}');
    table.specificType('claims', 'text[]').notNullable().defaultTo('{}');
    table.jsonb('resource_scopes').notNullable().defaultTo('{}');
    table.timestamp('updated_at', { useTz: true }).notNullable();
    table.primary(['account_id', 'client_id']);
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('consents');
}
