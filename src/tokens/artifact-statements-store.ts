import type { ArtifactKind, ConsumeOutcome, RevocationFilter } from './artifact.ts';
import { CACHED_KINDS, REVOCABLE_KINDS, TOMBSTONED_KINDS } from './artifact-references.ts';
import type { ArtifactRow, StoredRow } from './artifact-row.ts';

/** As much of a `pg.Pool` as the statements need. */
export type StatementRunner = {
  query<Row extends Record<string, unknown>>(statement: {
    name?: string;
    text: string;
    values: unknown[];
  }): Promise<{ rows: Row[]; rowCount: number | null }>;
};

/*
 * Every statement that takes more than one row takes its locks in the order of ids, so that no two of them can wait for
 * each other. Named statements are planned once per connection. What is to be deleted is named by an array, because a
 * subquery of unknown size was planned as a scan of the whole table.
 */

/**
 * The second destruction of a session ends its `uid`: then no row of that `uid` is alive, whenever it was written.
 * `offset 0` keeps it a look-up by index for sessions alone; as a join it was planned as a scan of all that were ended.
 */
const IS_ALIVE = `a.destroyed_at is null and (a.session_uid is null or not exists (
  select from artifacts ended where ended.session_uid = a.session_uid and ended.is_session_ended offset 0))`;
const EMPTIED = "payload = '{}', sealed = null, grant_id = null, client_id = null, account_id = null";
const READ_COLUMNS =
  "encode(a.id, 'hex') as id, a.kind, a.payload::text as payload, a.sealed, a.consumed_at, a.expires_at";

/** A parameter of type `bytea[]`: as one text it takes a fraction of what the driver makes of an array of buffers. */
function byteaArray(hexIds: readonly string[]): string {
  return `{${hexIds.map((hex) => `"\\\\x${hex}"`).join(',')}}`;
}

/**
 * @param ids in hex; may repeat
 * @returns the living among the rows asked for, each once, in no order
 */
export async function selectByIds(pool: StatementRunner, ids: readonly string[]): Promise<StoredRow[]> {
  const { rows } = await pool.query<StoredRow>({
    name: 'artifacts-by-id',
    text: `select ${READ_COLUMNS} from artifacts a where a.id = any($1::bytea[]) and ${IS_ALIVE}`,
    values: [byteaArray(ids)],
  });
  return rows;
}

/** Of each `uid` the session that was saved last; several exist after concurrent renewals. */
const sessionsOf = (uids: string) => `select distinct on (a.session_uid) a.session_uid as key, ${READ_COLUMNS}
    from artifacts a where a.session_uid = any(${uids}) and ${IS_ALIVE}
    order by a.session_uid, a.expires_at desc nulls first`;

/** @param uids may repeat. @returns by `uid` the session that was saved last */
export async function selectSessionsByUid(
  pool: StatementRunner,
  uids: readonly string[],
): Promise<Map<string, StoredRow>> {
  const { rows } = await pool.query<KeyedRow>({
    name: 'artifacts-by-session-uid',
    text: sessionsOf('$1::text[]'),
    values: [uids],
  });
  return byKey(rows);
}

/** Without a key it goes by its id. */
type KeyedRow = StoredRow & { key: string | null };

function byKey(rows: readonly KeyedRow[]): Map<string, StoredRow> {
  return new Map(rows.map((row) => [row.key ?? row.id, row]));
}

/**
 * Tokens with what else says whether they are alive: the grants that they were issued under, and the sessions that they
 * end with. The key of a grant is computed as in `digestOf`. A session's `uid` is taken out of the payload as text, for
 * PostgreSQL can't read every JSON that it keeps (an escaped NUL); one taken wrongly is a row that nobody asks for.
 *
 * @param ids in hex; may repeat
 * @returns the living by id, sessions by `uid`
 */
export async function selectTokens(pool: StatementRunner, ids: readonly string[]): Promise<Map<string, StoredRow>> {
  const { rows } = await pool.query<KeyedRow>({
    name: 'artifacts-tokens',
    text: `with token as materialized (
             select ${READ_COLUMNS}, a.grant_id from artifacts a where a.id = any($1::bytea[]) and ${IS_ALIVE})
           select null as key, id, kind, payload, sealed, consumed_at, expires_at from token
           union all
           select null, ${READ_COLUMNS} from artifacts a where a.destroyed_at is null and a.id = any(array(
             select sha256('Grant\\000'::bytea || convert_to(grant_id, 'UTF8')) from token where kind <> 'Grant'))
           union all
           (${sessionsOf(`array(
             select substring(payload from '"sessionUid":"([A-Za-z0-9_-]+)"') from token
             where payload like '%"expiresWithSession":true%')`)})`,
    values: [byteaArray(ids)],
  });
  return byKey(rows);
}

export async function selectByUserCodeHash(pool: StatementRunner, hash: Buffer): Promise<StoredRow[]> {
  const { rows } = await pool.query<StoredRow>({
    name: 'artifacts-by-user-code',
    text: `select ${READ_COLUMNS} from artifacts a where a.user_code_hash = $1 and a.destroyed_at is null`,
    values: [hash],
  });
  return rows;
}

/** @param rows of distinct ids; a row that exists keeps its user code and the time it was consumed */
export async function upsertRows(pool: StatementRunner, rows: readonly ArtifactRow[]): Promise<void> {
  await pool.query({
    name: 'artifacts-upsert',
    text: `insert into artifacts as a (id, kind, payload, sealed, grant_id, session_uid, user_code_hash, client_id,
             account_id, consumed_at, expires_at, purge_at)
           select * from unnest($1::bytea[], $2::text[], $3::json[], $4::text[], $5::text[], $6::text[], $7::bytea[],
             $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[]) as given (id)
           order by given.id
           on conflict (id) do update set
             payload = excluded.payload, sealed = excluded.sealed, grant_id = excluded.grant_id,
             session_uid = excluded.session_uid, client_id = excluded.client_id, account_id = excluded.account_id,
             user_code_hash = coalesce(excluded.user_code_hash, a.user_code_hash),
             consumed_at = coalesce(a.consumed_at, excluded.consumed_at),
             expires_at = excluded.expires_at, purge_at = excluded.purge_at
           where a.destroyed_at is null`,
    values: [
      rows.map((row) => row.id),
      rows.map((row) => row.kind),
      rows.map((row) => row.payload),
      rows.map((row) => row.sealed ?? null),
      rows.map((row) => row.grantId ?? null),
      rows.map((row) => row.sessionUid ?? null),
      rows.map((row) => row.userCodeHash ?? null),
      rows.map((row) => row.clientId ?? null),
      rows.map((row) => row.accountId ?? null),
      rows.map((row) => row.consumedAt ?? null),
      rows.map((row) => row.expiresAt ?? null),
      rows.map((row) => row.purgeAt ?? null),
    ],
  });
}

/** @returns by id (hex) what came of it; what is missing does not exist */
export async function consumeRows(
  pool: StatementRunner,
  ids: readonly Buffer[],
  consumedAt: string,
): Promise<Map<string, ConsumeOutcome>> {
  const { rows } = await pool.query<{ id: Buffer; is_winner: boolean }>({
    name: 'artifacts-consume',
    // The lock waits for whoever else is at it and then reads what they left; so the comparison can't be outrun.
    text: `with locked as materialized (
             select id, consumed_at from artifacts where id = any($1::bytea[]) and destroyed_at is null
             order by id for update),
           consumed as (
             update artifacts a set consumed_at = $2::timestamptz from locked
             where a.id = locked.id and locked.consumed_at is null returning a.id)
           select locked.id, consumed.id is not null as is_winner from locked left join consumed on consumed.id = locked.id`,
    values: [ids, consumedAt],
  });
  return new Map(rows.map((row) => [row.id.toString('hex'), row.is_winner ? 'consumed' : 'already_consumed']));
}

/**
 * Inserts rows that bear nothing but their id, where there is none that expires after `expiredBefore`.
 *
 * @param rows of distinct ids
 * @returns the ids (hex) inserted
 */
export async function insertMissingRows(
  pool: StatementRunner,
  rows: readonly Pick<ArtifactRow, 'id' | 'kind' | 'expiresAt' | 'purgeAt'>[],
  expiredBefore: string,
): Promise<Set<string>> {
  const inserted = await pool.query<{ id: Buffer }>({
    name: 'artifacts-insert-missing',
    text: `insert into artifacts as a (id, kind, payload, expires_at, purge_at)
           select given.id, given.kind, '{}'::json, given.expires_at, given.purge_at
           from unnest($1::bytea[], $2::text[], $3::timestamptz[], $4::timestamptz[])
             as given (id, kind, expires_at, purge_at) order by given.id
           on conflict (id) do update set expires_at = excluded.expires_at, purge_at = excluded.purge_at
           where a.expires_at <= $5::timestamptz
           returning id`,
    values: [
      rows.map((row) => row.id),
      rows.map((row) => row.kind),
      rows.map((row) => row.expiresAt ?? null),
      rows.map((row) => row.purgeAt ?? null),
      expiredBefore,
    ],
  });
  return new Set(inserted.rows.map((row) => row.id.toString('hex')));
}

/** The channel on which every process hears what became of rows that it may hold (artifact-cache.ts). */
export const DROPS_CHANNEL = 'tessera_artifacts';

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
