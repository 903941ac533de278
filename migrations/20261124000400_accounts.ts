import type { Knex } from 'knex';

/**
 * People. Log-in names are ASCII and compared under the collation "C": what is lower case must not depend on the locale
 * of the database (in Turkish, the lower case of I is not i).
 */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('accounts', (table) => {
    table.uuid('id').primary();
    table.text('email').notNullable();
    table.text('username');
    table.boolean('is_email_verified').notNullable().defaultTo(false);
    table.boolean('is_disabled').notNullable().defaultTo(false);
    table.boolean('is_demo').notNullable().defaultTo(false);
    table.jsonb('profile').notNullable().defaultTo('{}');
    table.text('password_hash').notNullable();
    table.timestamp('created_at', { useTz: true }).notNullable();
    table.timestamp('updated_at', { useTz: true }).notNullable();
  });
  await knex.raw('create unique index accounts_email_unique on accounts (lower(email collate "C"))');
  await knex.raw('create unique index accounts_username_unique on accounts (lower(username collate "C"))');
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('accounts');
}
