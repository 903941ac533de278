import type { Knex } from 'knex';

/**
 * Signing keys and the server's own secrets, sealed: without the key-encryption key, which is never in here, both tables
 * are of no use to anyone.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('signing_keys', (table) => {
    table.text('kid').primary();
    table.text('algorithm').notNullable().checkIn(['RS256', 'ES256'], 'signing_keys_algorithm');
    table.text('state').notNullable().checkIn(['next', 'active', 'retired', 'revoked'], 'signing_keys_state');
    table.integer('version').notNullable();
    table.jsonb('public_jwk').notNullable();
    table.text('sealed_private_jwk').notNullable();
    table.text('wrapped_data_key').notNullable();
    table.text('key_encryption_key_id').notNullable();
    table.timestamp('created_at').notNullable();
    table.timestamp('activated_at');
  });
  // Two nodes can't both have a key that signs, whatever their code does.
  await knex.raw(`create unique index signing_keys_one_active on signing_keys (algorithm) where state = 'active'`);
  await knex.raw(`create unique index signing_keys_one_next on signing_keys (algorithm) where state = 'next'`);

  await knex.schema.createTable('server_secrets', (table) => {
    table.text('name').notNullable();
    // Several versions of one secret may be valid at once, so that it can be replaced without an interruption.
    table.integer('version').notNullable();
    table.text('wrapped_secret').notNullable();
    table.text('key_encryption_key_id').notNullable();
    table.timestamp('created_at').notNullable();
    table.primary(['name', 'version']);
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('server_secrets');
  await knex.schema.dropTable('signing_keys');
}
