import type { Knex } from 'knex';

/** Clients with the digests of their secrets, APIs (resource servers) with their scopes, and who may do what with which. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('clients', (table) => {
    table.text('id').primary();
    table.jsonb('metadata').notNullable();
    table.boolean('may_introspect_any').notNullable().defaultTo(false);
    table.specificType('allowed_origins', 'text[]').notNullable().defaultTo('{}');
    table.boolean('is_demo').notNullable().defaultTo(false);
    // Counted up by every change of the metadata: a change is written only over the state that it was checked against.
    table.integer('revision').notNullable().defaultTo(1);
    table.timestamp('created_at').notNullable();
    table.timestamp('updated_at').notNullable();
  });
  // jsonb_exists is the operator `?`, which knex would take for a binding.
  await knex.raw(`alter table clients add constraint clients_metadata_bears_no_secret
    check (not jsonb_exists(metadata, 'client_secret') and not jsonb_exists(metadata, 'registration_access_token'))`);

  // At most a current and a previous secret: the key holds it, whatever the program does.
  await knex.schema.createTable('client_secrets', (table) => {
    table.text('client_id').notNullable().references('clients.id').onDelete('CASCADE');
    table.boolean('is_current').notNullable();
    table.binary('digest').notNullable();
    table.timestamp('created_at').notNullable();
    table.primary(['client_id', 'is_current']);
  });
  await knex.raw('alter table client_secrets add constraint client_secrets_sha256 check (octet_length(digest) = 32)');

  await knex.schema.createTable('apis', (table) => {
    table.text('identifier').primary();
    table.text('name').notNullable();
    table.jsonb('scopes').notNullable();
    table.text('token_format').notNullable().checkIn(['jwt', 'opaque']);
    table.text('signing_algorithm').notNullable().checkIn(['RS256', 'ES256']);
    table.integer('ttl_seconds').notNullable().checkPositive();
    table.boolean('is_demo').notNullable().defaultTo(false);
    table.timestamp('created_at').notNullable();
    table.timestamp('updated_at').notNullable();
  });

  // RESTRICT: a client without any row here may call every API, so removing a row silently could widen what it may do.
  await knex.schema.createTable('client_apis', (table) => {
    table.text('client_id').notNullable().references('clients.id').onDelete('CASCADE');
    table.text('api_identifier').notNullable().references('apis.identifier').onDelete('RESTRICT').index();
    table.primary(['client_id', 'api_identifier']);
  });

  // CASCADE both ways: removing a row here only ever takes a right away.
  await knex.schema.createTable('api_introspection_clients', (table) => {
    table.text('api_identifier').notNullable().references('apis.identifier').onDelete('CASCADE');
    table.text('client_id').notNullable().references('clients.id').onDelete('CASCADE').index();
    table.primary(['api_identifier', 'client_id']);
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('api_introspection_clients');
  await knex.schema.dropTable('client_apis');
  await knex.schema.dropTable('apis');
  await knex.schema.dropTable('client_secrets');
  await knex.schema.dropTable('clients');
}
