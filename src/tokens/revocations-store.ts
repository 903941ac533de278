import type { Knex } from 'knex';
import { announceChange } from '../database/index.ts';

/** What is revoked: one token by its `jti`, or all before a revision that bear this client or account. */
export type RevocationKind = 'token' | 'client' | 'account';

/** `expiresAt`: epoch milliseconds, from which on nothing that it could end is accepted anyway. */
export type NewRevocation = { kind: RevocationKind; value: string; expiresAt: number };
export type Revocation = NewRevocation & { revision: number };

/** The place behind which to read on: that of a row, or one before all rows of a revision, with empty names. */
export type RevocationCursor = { revision: number; kind: RevocationKind | ''; value: string };

type RevocationRow = { kind: RevocationKind; value: string; revision: string; expires_at: Date };

/**
 * At least the time of the database in milliseconds, so that revisions go on from above where a backup was restored:
 * tokens that were issued after the backup was made carry higher ones than it holds.
 */
const RAISE_REVISION = `
  insert into revisions (topic, revision)
    values ('revocations', floor(extract(epoch from clock_timestamp()) * 1000))
  on conflict (topic) do update set revision = greatest(revisions.revision, excluded.revision)`;

/**
 * Writes all of them under one new revision and tells every node. The lock on the topic's row in `revisions`, held until
 * the commit, makes the order of revisions the order of commits: who has read up to one has missed none before it.
 *
 * @param revocations distinct by kind and value
 * @param now epoch milliseconds
 */
export async function insertRevocations(knex: Knex, revocations: readonly NewRevocation[], now: number): Promise<void> {
  await knex.transaction(async (trx) => {
    await trx.raw(RAISE_REVISION);
    await announceChange(trx, 'revocations');
    await trx.raw(
      `insert into revocations as r (kind, value, expires_at, revoked_at, revision)
       select given.kind, given.value, given.expires_at, ?, revisions.revision
       from unnest(?::text[], ?::text[], ?::timestamptz[]) as given (kind, value, expires_at), revisions
       where revisions.topic = 'revocations'
       on conflict (kind, value) do update set revision = excluded.revision, revoked_at = excluded.revoked_at,
         expires_at = greatest(r.expires_at, excluded.expires_at)`,
      [
        new Date(now),
        revocations.map(({ kind }) => kind),
        revocations.map(({ value }) => value),
        revocations.map(({ expiresAt }) => new Date(expiresAt).toISOString()),
      ],
    );
  });
}

/** The first `limit` behind `cursor`, in the order of revisions. */
export async function selectRevocations(knex: Knex, cursor: RevocationCursor, limit: number): Promise<Revocation[]> {
  const rows = await knex<RevocationRow>('revocations')
    .select('kind', 'value', 'revision', 'expires_at')
    .whereRaw('(revision, kind, value) > (?, ?, ?)', [cursor.revision, cursor.kind, cursor.value])
    .orderBy(['revision', 'kind', 'value'])
    .limit(limit);
  return rows.map(({ kind, value, revision, expires_at }) => ({
    kind,
    value,
    revision: Number(revision),
    expiresAt: expires_at.getTime(),
  }));
}

/**
 * Removes what has expired, one bounded batch; whoever calls repeats until fewer than `batch.size` were left to remove.
 *
 * @param batch.before epoch milliseconds
 * @returns how many rows were removed
 */
export async function deleteExpiredRevocations(knex: Knex, batch: { size: number; before: number }): Promise<number> {
  const result = await knex.raw<{ rowCount: number | null }>(
    `delete from revocations where (kind, value) in (
       select kind, value from revocations where expires_at <= ? order by expires_at limit ? for update skip locked
     )`,
    [new Date(batch.before), batch.size],
  );
  return result.rowCount ?? 0;
}
