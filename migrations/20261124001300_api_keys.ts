import type { Knex } from 'knex';

/**
 * API keys, with the digests of the current secret and of the one before it, which ends by itself. What changes with their
 * use stands apart, so that a key's own row changes only when people change it.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('api_keys', (table) => {
    table.text('id').primary();
    table.text('name').notNullable();
    table.uuid('account_id').index();
    table.text('client_id').index();
    table.specificType('scopes', 'text[]').notNullable();
    table.specificType('apis', 'text[]').notNullable();
    table.timestamp('expires_at', { useTz: true });
    table.specificType('allowed_addresses', 'text[]').notNullable();
    table.bigInteger('quota_requests').checkPositive();
    table.integer('quota_window_seconds').checkPositive();
    table.integer('rate_per_second').checkPositive();
    table.boolean('is_disabled').notNullable().defaultTo(false);
    table.timestamp('revoked_at', { useTz: true });
    table.binary('digest').notNullable();
    table.binary('previous_digest');
    table.timestamp('previous_until', { useTz: true });
    table.timestamp('created_at', { useTz: true }).notNullable();
    table.timestamp('updated_at', { useTz: true }).notNullable();
    table.check('(account_id is null) <> (client_id is null)', undefined, 'api_keys_one_owner');
    table.check('cardinality(apis) > 0', undefined, 'api_keys_name_apis');
    table.check('(quota_requests is null) = (quota_window_seconds is null)', undefined, 'api_keys_whole_quota');
    table.check('octet_length(digest) = 32', undefined, 'api_keys_sha256');
    table.check('octet_length(previous_digest) = 32', undefined, 'api_keys_previous_sha256');
    table.check('(previous_digest is null) = (previous_until is null)', undefined, 'api_keys_previous_ends');
  });
  await knex.raw(`alter table api_keys add constraint api_keys_id check (id ~ '^[0-9A-Za-z]{16}$')`);
  // Deferred and without CASCADE: whoever deletes an owner deletes its keys in the same transaction, and says so in the
  // audit trail, or nothing is deleted.
  for (const [column, owner] of [
    ['account_id', 'accounts'],
    ['client_id', 'clients'],
  ]) {
    await knex.raw(
      `alter table api_keys add constraint api_keys_${column} foreign key (${column}) references ${owner} (id)
       deferrable initially deferred`,
    );
  }

  // One row per key that was ever used, written over once a flush; half of each page is left for new versions, which then
  // touch no index.
  await knex.raw(`
    create table api_key_counters (
      key_id text primary key references api_keys (id) on delete cascade,
      window_seconds integer not null,
      window_start timestamptz not null,
      used bigint not null,
      last_used_at timestamptz not null,
      last_used_from text
    ) with (fillfactor = 50)`);

  await knex.schema.createTable('api_key_usage', (table) => {
    table.text('key_id').notNullable().references('api_keys.id').onDelete('CASCADE');
    table.text('api').notNullable().comment('empty: for none in particular');
    table.date('day').notNullable().index().comment('UTC');
    table.bigInteger('requests').notNullable();
    table.primary(['key_id', 'day', 'api']);
  });
  // Written over as often, for the day that it is.
  await knex.raw('alter table api_key_usage set (fillfactor = 50)');
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('api_key_usage');
  await knex.schema.dropTable('api_key_counters');
  await knex.schema.dropTable('api_keys');
}
