import type { Knex } from 'knex';

/** Which of its scopes a client may ask for at one API, as the same name may mean more at one than at another; null: all. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('client_apis', (table) => {
    table.specificType('scopes', 'text[]');
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('client_apis', (table) => table.dropColumn('scopes'));
}
