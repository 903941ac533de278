import type { ArtifactKind, ConsumeOutcome, RevocationFilter } from './artifact.ts';
import { REVOCABLE_KINDS, TOMBSTONED_KINDS } from './artifact-references.ts';
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
const READ_COLUMNS = 'a.id, a.kind, a.payload, a.sealed, a.consumed_at, a.expires_at';

/** @returns the living among the rows asked for, in no order */
export async function selectByIds(pool: StatementRunner, ids: readonly Buffer[]): Promise<StoredRow[]> {
  const { rows } = await pool.query<StoredRow>({
    name: 'artifacts-by-id',
    text: `select ${READ_COLUMNS} from artifacts a where a.id = any($1::bytea[]) and ${IS_ALIVE}`,
    values: [ids],
  });
  return rows;
}

/** @returns the session of this `uid` that was saved last; several exist after concurrent renewals */
export async function selectSessionByUid(pool: StatementRunner, uid: string): Promise<StoredRow | undefined> {
  const { rows } = await pool.query<StoredRow>({
    name: 'artifacts-by-session-uid',
    text: `select ${READ_COLUMNS} from artifacts a where a.session_uid = $1 and ${IS_ALIVE}
           order by a.expires_at desc nulls first limit 1`,
    values: [uid],
  });
  return rows[0];
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

export async function deleteById(pool: StatementRunner, id: Buffer): Promise<void> {
  await pool.query({ name: 'artifacts-delete', text: 'delete from artifacts where id = $1', values: [id] });
}

/** @param endedUntil how long the tombstone of a session stays that is destroyed a second time */
export async function buryById(
  pool: StatementRunner,
  id: Buffer,
  destroyedAt: string,
  endedUntil: string,
): Promise<void> {
  await pool.query({
    name: 'artifacts-bury',
    text: `update artifacts set ${EMPTIED}, destroyed_at = coalesce(destroyed_at, $2::timestamptz),
             is_session_ended = session_uid is not null and destroyed_at is not null,
             purge_at = case when session_uid is not null and destroyed_at is not null then $3::timestamptz
                             else purge_at end
           where id = $1`,
    values: [id, destroyedAt, endedUntil],
  });
}

export async function deleteByGrantId(pool: StatementRunner, kind: ArtifactKind, grantId: string): Promise<void> {
  await pool.query({
    name: 'artifacts-delete-by-grant',
    text: `with doomed as materialized (
             select id from artifacts where grant_id = $1 and kind = $2 order by id for update)
           delete from artifacts where id = any(array(select id from doomed))`,
    values: [grantId, kind],
  });
}

/** Rows per statement of a revocation: far below the statement timeout even on a slow disk. */
const REVOCATION_BATCH_SIZE = 1_000;

/**
 * Tombstones first: from then on nothing that refers to them counts, however long the rest takes.
 *
 * @returns how many rows were alive
 */
export async function revokeRows(
  pool: StatementRunner,
  filter: RevocationFilter,
  destroyedAt: string,
  endedUntil: string,
): Promise<number> {
  const [column, value] = revocationColumn(filter);
  const doomed = `with doomed as materialized (
      select id from artifacts where ${column} = $1 and kind = any($2::text[]) and destroyed_at is null
      order by id limit ${REVOCATION_BATCH_SIZE} for update)`;
  const buried = await repeat(pool, {
    text: `${doomed} update artifacts set ${EMPTIED}, destroyed_at = $3::timestamptz,
             is_session_ended = session_uid is not null,
             purge_at = case when session_uid is not null then $4::timestamptz else purge_at end
           where id = any(array(select id from doomed))`,
    values: [value, TOMBSTONED_KINDS, destroyedAt, endedUntil],
  });
  const deleted = await repeat(pool, {
    text: `${doomed} delete from artifacts where id = any(array(select id from doomed))`,
    values: [value, REVOCABLE_KINDS],
  });
  return buried + deleted;
}

const EMPTIED = "payload = '{}', sealed = null, grant_id = null, client_id = null, account_id = null";

function revocationColumn(filter: RevocationFilter): [column: string, value: string] {
  if ('accountId' in filter) return ['account_id', filter.accountId];
  if ('clientId' in filter) return ['client_id', filter.clientId];
  return ['grant_id', filter.grantId];
}

async function repeat(pool: StatementRunner, statement: { text: string; values: unknown[] }): Promise<number> {
  let total = 0;
  let count: number;
  do {
    count = (await pool.query(statement)).rowCount ?? 0;
    total += count;
  } while (count === REVOCATION_BATCH_SIZE);
  return total;
}
