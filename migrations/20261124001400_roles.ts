import type { Knex } from 'knex';

/** What APIs are told that a person or a service is, beside what it may do: the claim `roles` (RFC 9068, section 2.2.3.1). */
export async function up(knex: Knex): Promise<void> {
  for (const name of ['accounts', 'clients']) {
    await knex.schema.alterTable(name, (table) => {
      table.specificType('roles', 'text[]').notNullable().defaultTo('{}');
    });
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const name of ['clients', 'accounts']) {
    await knex.schema.alterTable(name, (table) => table.dropColumn('roles'));
  }
}
