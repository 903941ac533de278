import type { ConsumeOutcome } from './artifact.ts';
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
