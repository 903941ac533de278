import type { Knex } from 'knex';
import type { AuditActor, AuditContext, AuditEvent, AuditEventType } from './audit-event.ts';

/** An event that is about to be recorded; checked. */
export type AuditEntry = Readonly<{ occurredAt: Date; event: AuditEvent; context: AuditContext }>;

/** An event as it was recorded. */
export type AuditRecord = Readonly<{
  /** Grows with every record; a whole number of up to 63 bits, hence text. */
  id: string;
  /** By the clock of the node that saw it. */
  occurredAt: Date;
  type: AuditEventType;
  accountId: string | undefined;
  clientId: string | undefined;
  actor: AuditActor | undefined;
  requestId: string | undefined;
  address: string | undefined;
  /** The event's other members. */
  details: Readonly<Record<string, unknown>>;
}>;

type AuditEventRow = {
  id: string;
  occurred_at: Date;
  type: AuditEventType;
  actor_kind: AuditActor['kind'] | null;
  actor_id: string | null;
  account_id: string | null;
  client_id: string | null;
  request_id: string | null;
  address: string | null;
  details: Record<string, unknown>;
};

/** Adds events in one statement, with ids in the order given. All or none. */
export async function insertAuditEvents(knex: Knex, entries: readonly AuditEntry[]): Promise<void> {
  await knex.raw(
    `insert into audit_events
       (occurred_at, type, actor_kind, actor_id, account_id, client_id, request_id, address, details)
     select occurred_at, type, actor_kind, actor_id, account_id, client_id, request_id, address, details
       from rows from (json_to_recordset(?) as (
              occurred_at timestamptz, type text, actor_kind text, actor_id text, account_id text, client_id text,
              request_id text, address text, details jsonb
            )) with ordinality
      order by ordinality`,
    [JSON.stringify(entries.map(toRow))],
  );
}

function toRow({ occurredAt, event, context }: AuditEntry) {
  const { type, accountId, clientId, ...details } = { accountId: undefined, clientId: undefined, ...event };
  const { actor, requestId, address } = context;
  return {
    occurred_at: occurredAt,
    type,
    actor_kind: actor?.kind,
    actor_id: actor !== undefined && 'id' in actor ? actor.id : undefined,
    account_id: accountId,
    client_id: clientId,
    request_id: requestId,
    address,
    details,
  };
}

/**
 * How long a missing id is waited for. An id is drawn when a row is inserted, and the row is seen when its transaction
 * commits, which ours do within milliseconds; a number drawn by one that was rolled back stays missing for ever.
 */
const GAP_WAIT_MS = 5_000;
/** Where numbers that are young may be missing: bounds what a look at the end costs to some 10 ms, however long the table. */
const NEWEST_ROWS = 10_000;

/**
 * Records in the order of their ids: the oldest ones after `afterId`, else the newest ones. Ends before a number that
 * is missing and young, so that who goes on after the last record overlooks none that commits late.
 *
 * @param query.now epoch milliseconds
 */
export async function readAuditEvents(
  knex: Knex,
  query: { limit: number; afterId?: string | undefined; types?: readonly AuditEventType[] | undefined; now: number },
): Promise<AuditRecord[]> {
  const newest = knex('audit_events').select('id', 'occurred_at').orderBy('id', 'desc').limit(NEWEST_ROWS);
  const steps = knex
    .select('id', 'occurred_at', knex.raw('id - lag(id) over (order by id) as step'))
    .from(newest.as('newest'));
  const horizon = knex
    .min('id')
    .from(steps.as('steps'))
    .where('step', '>', 1)
    .where('occurred_at', '>', new Date(query.now - GAP_WAIT_MS));
  const rows = await knex<AuditEventRow>('audit_events')
    .modify((builder) => {
      if (query.afterId !== undefined) builder.where('id', '>', query.afterId).orderBy('id', 'asc');
      else builder.orderBy('id', 'desc');
      if (query.types !== undefined) builder.whereIn('type', query.types);
    })
    .whereRaw('id < coalesce((?), 9223372036854775807)', [horizon])
    .limit(query.limit);
  const ordered = query.afterId === undefined ? rows.reverse() : rows;
  return ordered.map(toRecord);
}

function toRecord(row: AuditEventRow): AuditRecord {
  return {
    id: row.id,
    occurredAt: row.occurred_at,
    type: row.type,
    accountId: row.account_id ?? undefined,
    clientId: row.client_id ?? undefined,
    actor: toActor(row.actor_kind, row.actor_id),
    requestId: row.request_id ?? undefined,
    address: row.address ?? undefined,
    details: row.details,
  };
}

function toActor(kind: AuditActor['kind'] | null, id: string | null): AuditActor | undefined {
  if (kind === 'operator' || kind === 'system') return { kind };
  return kind === null || id === null ? undefined : { kind, id };
}
