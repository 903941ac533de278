import type { Knex } from 'knex';

/**
 * The record of security events. Rows are added and never changed: the triggers refuse it to everyone, whatever the
 * statement (`enable always`: also while replaying). Only the owner of the table can take the triggers away; who wants
 * that out of reach runs the server as a role that does not own its tables.
 *
 * Retention will not delete rows either: the table becomes partitioned by ranges of `id` (this one its first partition),
 * and a role of its own, not the server's, detaches and drops whole partitions once they are exported.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table audit_events (
      id bigint generated always as identity primary key,
      occurred_at timestamptz not null,
      type text not null,
      actor_kind text,
      actor_id text,
      account_id text,
      client_id text,
      request_id text,
      address text,
      details jsonb not null
    )`);
  // Events per token outnumber all others by far: they are found by account or by time, and burden no further index.
  await knex.raw('create index audit_events_account on audit_events (account_id, id) where account_id is not null');
  await knex.raw(`
    create index audit_events_client on audit_events (client_id, id)
     where client_id is not null and type <> 'token.issued'`);
  await knex.raw(`create index audit_events_type on audit_events (type, id) where type <> 'token.issued'`);
  // Rows stand on disk in the order of time, for which a block-range index is all but free.
  await knex.raw('create index audit_events_time on audit_events using brin (occurred_at) with (autosummarize = on)');
  await knex.raw(`
    create function refuse_change_of_audit_events() returns trigger language plpgsql as $$
    begin
      raise exception 'audit_events is append-only: % is refused', tg_op using errcode = 'insufficient_privilege';
    end $$`);
  await knex.raw(`
    create trigger audit_events_append_only before update or delete or truncate on audit_events
      for each statement execute function refuse_change_of_audit_events()`);
  await knex.raw('alter table audit_events enable always trigger audit_events_append_only');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table audit_events');
  await knex.raw('drop function refuse_change_of_audit_events()');
}
