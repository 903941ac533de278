import type { Knex } from 'knex';

/**
 * What the protocol stores. `id` is a digest and no column holds a bearer value (src/tokens). `payload` is `json`, not
 * `jsonb`: it is never queried, comes back as it was written, and may hold an escaped NUL, which `jsonb` refuses.
 *
 * fillfactor 80: sessions, interactions and device codes are rewritten several times within minutes, and a row takes
 * about 600 bytes; a fifth of the page has room for two or three new versions, which then touch no index (HOT).
 * That holds only while no indexed column changes: hence `purge_at`, rounded up, is indexed and the exact `expires_at`
 * is not. Autovacuum starts at 2 % of dead rows, not 20 %: nearly every row dies within hours.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table artifacts (
      id bytea primary key,
      kind text not null,
      payload json not null,
      sealed text,
      grant_id text,
      session_uid text,
      user_code_hash bytea,
      client_id text,
      account_id text,
      consumed_at timestamptz,
      destroyed_at timestamptz,
      is_session_ended boolean not null default false,
      expires_at timestamptz,
      purge_at timestamptz
    ) with (
      fillfactor = 80,
      autovacuum_vacuum_scale_factor = 0.02,
      autovacuum_vacuum_insert_scale_factor = 0.05,
      autovacuum_analyze_scale_factor = 0.02
    )`);
  // Partial: most kinds have few of these, and a row without the value costs its index nothing.
  await knex.raw('create index artifacts_grant on artifacts (grant_id) where grant_id is not null');
  await knex.raw('create index artifacts_session on artifacts (session_uid) where session_uid is not null');
  // Nearly always empty: every look-up asks whether a session's uid was ended.
  await knex.raw('create index artifacts_ended_session on artifacts (session_uid) where is_session_ended');
  await knex.raw('create index artifacts_user_code on artifacts (user_code_hash) where user_code_hash is not null');
  await knex.raw('create index artifacts_client on artifacts (client_id) where client_id is not null');
  await knex.raw('create index artifacts_account on artifacts (account_id) where account_id is not null');
  await knex.raw('create index artifacts_purge on artifacts (purge_at) where purge_at is not null');
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('artifacts');
}
