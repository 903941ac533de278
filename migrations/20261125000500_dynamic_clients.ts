import type { Knex } from 'knex';

/** Clients that registered themselves (RFC 7591), and the tokens by which an operator lets them. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('clients', (table) => {
    table
      .text('origin')
      .notNullable()
      .defaultTo('operator')
      .checkIn(['operator', 'dynamic'], 'clients_origin_is_known');
    table.specificType('registration_policies', 'text[]').notNullable().defaultTo('{}');
    table
      .timestamp('used_at', { useTz: true })
      .comment('when the first token was issued to it, or somebody signed in for it');
  });
  await knex.raw(`create index clients_self_registered on clients (created_at) where origin = 'dynamic'`);
  await knex.schema.createTable('registration_tokens', (table) => {
    table.text('id').primary();
    table.specificType('digest', 'bytea').notNullable().unique();
    table.specificType('policies', 'text[]').notNullable();
    table
      .integer('uses_left')
      .comment('null: any number')
      .checkBetween([0, 1_000_000], 'registration_tokens_uses_left');
    table.timestamp('created_at', { useTz: true }).notNullable();
    table.timestamp('expires_at', { useTz: true });
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('registration_tokens');
  await knex.schema.alterTable('clients', (table) => {
    table.dropColumn('used_at');
    table.dropColumn('registration_policies');
    table.dropColumn('origin');
  });
}
