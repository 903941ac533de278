import type { ArtifactRow, StoredRow } from './artifact-row.ts';
import type { StatementRunner } from './artifact-statements-store.ts';

/*
 * A leeway is measured by the database's clock from end to end: it writes `consumed_at` here, and compares it. The clocks
 * of two nodes may be further apart than the leeway is long.
 */

/** A rotation as it is written. `successor` is the child's value, sealed; null where no retry may have it. */
export type RotationRow = { parentId: Buffer; successor: string | null; leewaySeconds: number; child: ArtifactRow };

/** What a parent's row said. A successor is there only where it was rotated within the leeway. */
export type RotatedRow = { isWinner: boolean; successor: string | undefined };

/**
 * Consumes parents and inserts their children, all or nothing. Where a parent was consumed before, nothing is written.
 *
 * @param rows of distinct parents
 * @returns by the parent's id (hex); what is missing does not exist any more
 */
export async function rotateRows(
  pool: StatementRunner,
  rows: readonly RotationRow[],
): Promise<Map<string, RotatedRow>> {
  const result = await pool.query<{ id: Buffer; is_winner: boolean; successor: string | null }>({
    name: 'artifacts-rotate',
    // The lock waits for whoever rotates the same parent on another node, and then reads what they left.
    text: `with given as materialized (
             select * from unnest($1::bytea[], $2::text[], $3::float8[], $4::bytea[], $5::text[], $6::json[], $7::text[],
               $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[]) as given (parent_id,
               successor, leeway_seconds, id, kind, payload, sealed, grant_id, client_id, account_id, expires_at, purge_at)),
           parent as materialized (
             select id, consumed_at, successor from artifacts where id = any($1::bytea[]) and destroyed_at is null
             order by id for update),
           winner as (
             update artifacts a set consumed_at = clock_timestamp(), successor = given.successor
             from parent join given on given.parent_id = parent.id
             where a.id = parent.id and parent.consumed_at is null returning a.id),
           child as (
             insert into artifacts (id, kind, payload, sealed, grant_id, client_id, account_id, expires_at, purge_at)
             select given.id, given.kind, given.payload, given.sealed, given.grant_id, given.client_id, given.account_id,
               given.expires_at, given.purge_at
             from given join winner on winner.id = given.parent_id)
           select parent.id, winner.id is not null as is_winner,
             case when parent.consumed_at > clock_timestamp() - make_interval(secs => given.leeway_seconds)
                  then parent.successor end as successor
           from parent join given on given.parent_id = parent.id left join winner on winner.id = parent.id`,
    values: [
      rows.map((row) => row.parentId),
      rows.map((row) => row.successor),
      rows.map((row) => row.leewaySeconds),
      rows.map(({ child }) => child.id),
      rows.map(({ child }) => child.kind),
      rows.map(({ child }) => child.payload),
      rows.map(({ child }) => child.sealed ?? null),
      rows.map(({ child }) => child.grantId ?? null),
      rows.map(({ child }) => child.clientId ?? null),
      rows.map(({ child }) => child.accountId ?? null),
      rows.map(({ child }) => child.expiresAt ?? null),
      rows.map(({ child }) => child.purgeAt ?? null),
    ],
  });
  return new Map(
    result.rows.map(({ id, is_winner, successor }) => [
      id.toString('hex'),
      { isWinner: is_winner, successor: successor ?? undefined },
    ]),
  );
}

/** @returns the row of a parent that was rotated within the leeway, as it was before */
export async function selectRotatedById(
  pool: StatementRunner,
  id: Buffer,
  leewaySeconds: number,
): Promise<StoredRow | undefined> {
  const { rows } = await pool.query<StoredRow>({
    name: 'artifacts-rotated-by-id',
    text: `select encode(id, 'hex') as id, kind, payload::text as payload, sealed, null::timestamptz as consumed_at,
             expires_at from artifacts
           where id = $1 and destroyed_at is null and successor is not null
             and consumed_at > clock_timestamp() - make_interval(secs => $2::float8)`,
    values: [id, leewaySeconds],
  });
  return rows[0];
}

/**
 * Forgets the successors that no retry may have any more: one bounded batch. It waits for no lock and several nodes may
 * do it at once; whoever calls repeats until fewer than `batchSize` were left.
 *
 * @returns how many were forgotten
 */
export async function wipeSuccessors(options: {
  pool: StatementRunner;
  leewaySeconds: number;
  batchSize: number;
}): Promise<number> {
  const { rowCount } = await options.pool.query({
    name: 'artifacts-wipe-successors',
    text: `with old as materialized (
             select id from artifacts
             where successor is not null and consumed_at <= clock_timestamp() - make_interval(secs => $1::float8)
             order by id limit $2 for update skip locked)
           update artifacts set successor = null where id = any(array(select id from old))`,
    values: [options.leewaySeconds, options.batchSize],
  });
  return rowCount ?? 0;
}
