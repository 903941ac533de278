import type { ArtifactKind, RevocationFilter } from './artifact.ts';
import { CACHED_KINDS, REVOCABLE_KINDS, TOMBSTONED_KINDS } from './artifact-references.ts';
import type { StatementRunner } from './artifact-statements-store.ts';

/*
 * Statements that end something. They take their locks in the order of ids, as all others do (artifact-statements-store.ts).
 */

/** The channel on which every process hears what became of rows that it may hold (artifact-cache.ts). */
export const DROPS_CHANNEL = 'tessera_artifacts';

const EMPTIED = "payload = '{}', sealed = null, grant_id = null, client_id = null, account_id = null";

/** What a statement ended: how many rows, and by what keys they may be held in a cache. */
export type Ended = { count: number; keys: readonly string[] };

/** PostgreSQL takes messages of less than 8,000 bytes; an empty one stands for everything. */
const LONGEST_MESSAGE_BYTES = 7_900;

/**
 * Tells every process of `gone`, when and only when the deletion commits. Nothing is said of kinds that nobody holds, nor
 * where nothing went: NOTIFY takes a lock over the whole database at commit.
 */
const TELL_GONE = `select count, keys, case when keys is not null then pg_notify('${DROPS_CHANNEL}',
    case when octet_length(keys) <= ${LONGEST_MESSAGE_BYTES} then keys else '' end)::text end as told
  from (select count(*)::int as count, string_agg(case kind when 'Session' then session_uid else encode(id, 'hex') end, ',')
          filter (where kind in (${CACHED_KINDS.map((kind) => `'${kind}'`).join(', ')})) as keys from gone) as ended`;

async function end(
  pool: StatementRunner,
  statement: { name?: string; text: string; values: unknown[] },
): Promise<Ended> {
  const { rows } = await pool.query<{ count: number; keys: string | null }>(statement);
  return { count: rows[0]?.count ?? 0, keys: keysIn(rows[0]?.keys ?? undefined) ?? [] };
}

/** The keys that a message names; undefined where it stands for everything. */
export function keysIn(message: string | undefined): string[] | undefined {
  return message ? message.split(',') : undefined;
}

/** @param ids distinct */
export function deleteByIds(pool: StatementRunner, ids: readonly Buffer[]): Promise<Ended> {
  return end(pool, {
    name: 'artifacts-delete',
    text: `with doomed as materialized (select id from artifacts where id = any($1::bytea[]) order by id for update),
           gone as (
             delete from artifacts where id = any(array(select id from doomed)) returning id, kind, session_uid)
           ${TELL_GONE}`,
    values: [ids],
  });
}

/** Puts a tombstone in the place of `id`; `times`: how often it was asked for in this batch. */
export type Burial = { id: Buffer; times: number };

/**
 * @param burials of distinct ids
 * @param endedUntil how long the tombstone of a session stays that is destroyed a second time
 */
export function buryByIds(
  pool: StatementRunner,
  burials: readonly Burial[],
  destroyedAt: string,
  endedUntil: string,
): Promise<Ended> {
  return end(pool, {
    name: 'artifacts-bury',
    text: `with doomed as materialized (
             select a.id, a.session_uid is not null and (a.destroyed_at is not null or given.times > 1) as is_end
             from artifacts a join unnest($1::bytea[], $2::int[]) as given (id, times) on given.id = a.id
             where a.id = any($1::bytea[]) order by a.id for update of a),
           gone as (
             update artifacts a set ${EMPTIED}, destroyed_at = coalesce(a.destroyed_at, $3::timestamptz),
               is_session_ended = doomed.is_end,
               purge_at = case when doomed.is_end then $4::timestamptz else a.purge_at end
             from doomed where a.id = doomed.id returning a.id, a.kind, a.session_uid)
           ${TELL_GONE}`,
    values: [burials.map(({ id }) => id), burials.map(({ times }) => times), destroyedAt, endedUntil],
  });
}

/** What is to be deleted of a grant: what was issued under it, of one kind. */
export type GrantPart = { kind: ArtifactKind; grantId: string };

/** @param parts distinct */
export function deleteByGrantIds(pool: StatementRunner, parts: readonly GrantPart[]): Promise<Ended> {
  return end(pool, {
    name: 'artifacts-delete-by-grant',
    text: `with doomed as materialized (
             select id from artifacts where id = any(array(
               select a.id from unnest($1::text[], $2::text[]) as given (kind, grant_id) cross join lateral (
                 select id from artifacts where grant_id = given.grant_id and kind = given.kind offset 0) as a))
             order by id for update),
           gone as (
             delete from artifacts where id = any(array(select id from doomed)) returning id, kind, session_uid)
           ${TELL_GONE}`,
    values: [parts.map(({ kind }) => kind), parts.map(({ grantId }) => grantId)],
  });
}

/** Rows per statement of a revocation: far below the statement timeout even on a slow disk. */
const REVOCATION_BATCH_SIZE = 1_000;

/**
 * Tombstones first: from then on nothing that refers to them counts, however long the rest takes.
 *
 * @param forget is told of what each statement ended as soon as it has
 * @returns how many rows were alive
 */
export async function revokeRows(
  pool: StatementRunner,
  filter: RevocationFilter,
  times: { destroyedAt: string; endedUntil: string },
  forget: (keys: readonly string[]) => void,
): Promise<number> {
  const [column, value] = revocationColumn(filter);
  const doomed = `with doomed as materialized (
      select id from artifacts where ${column} = $1 and kind = any($2::text[]) and destroyed_at is null
      order by id limit ${REVOCATION_BATCH_SIZE} for update)`;
  const statements = [
    {
      text: `${doomed}, gone as (
               update artifacts set ${EMPTIED}, destroyed_at = $3::timestamptz, is_session_ended = session_uid is not null,
                 purge_at = case when session_uid is not null then $4::timestamptz else purge_at end
               where id = any(array(select id from doomed)) returning id, kind, session_uid)
             ${TELL_GONE}`,
      values: [value, TOMBSTONED_KINDS, times.destroyedAt, times.endedUntil],
    },
    {
      text: `${doomed}, gone as (
               delete from artifacts where id = any(array(select id from doomed)) returning id, kind, session_uid)
             ${TELL_GONE}`,
      values: [value, REVOCABLE_KINDS],
    },
  ];
  let total = 0;
  for (const statement of statements) {
    let ended: Ended;
    do {
      ended = await end(pool, statement);
      forget(ended.keys);
      total += ended.count;
    } while (ended.count === REVOCATION_BATCH_SIZE);
  }
  return total;
}

function revocationColumn(filter: RevocationFilter): [column: string, value: string] {
  if ('accountId' in filter) return ['account_id', filter.accountId];
  if ('clientId' in filter) return ['client_id', filter.clientId];
  return ['grant_id', filter.grantId];
}
