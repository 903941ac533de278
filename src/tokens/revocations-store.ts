import type { Knex } from 'knex';
import { announceChange } from '../database/index.ts';

/** What is revoked: one token by its `jti`, or all before a revision that bear this client or account. */
export type RevocationKind = 'token' | 'client' | 'account';

/** `expiresAt`: epoch milliseconds, from which on nothing that it could end is accepted anyway. */
export type NewRevocation = { value: string; expiresAt: number } & (
  | { kind: 'token' /** To whom it was issued. */; clientId: string }
  | { kind: 'client' | 'account' }
);
export type Revocation = NewRevocation & { revision: number };

/** The place behind which to read on: that of a row, or one before all rows of a revision, with empty names. */
export type RevocationCursor = { revision: number; kind: RevocationKind | ''; value: string };

type RevocationRow = {
  kind: RevocationKind;
  value: string;
  client_id: string | null;
  revision: string;
  expires_at: Date;
};

/**
 * At least the time of the database in milliseconds, so that revisions go on from above where a backup was restored:
 * tokens that were issued after the backup was made carry higher ones than it holds.
 */
const RAISE_REVISION = `
  insert into revisions (topic, revision)
    values ('revocations', floor(extract(epoch from clock_timestamp()) * 1000))
  on conflict (topic) do update set revision = greatest(revisions.revision, excluded.revision)`;

/**
 * Writes all of them under one new revision and tells every node. A client's mark takes the place of the entries of its
 * tokens, which it ends all, and lasts as long as any of them. The lock on the topic's row in `revisions`, held until
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
      `with given as (
         select * from unnest(?::text[], ?::text[], ?::text[], ?::timestamptz[]) as g (kind, value, client_id, expires_at)
       ), replaced as (
         delete from revocations where client_id in (select value from given where kind = 'client')
         returning client_id, expires_at
       )
       insert into revocations as r (kind, value, client_id, expires_at, revoked_at, revision)
       select given.kind, given.value, nullif(given.client_id, ''),
         greatest(given.expires_at, (select max(expires_at) from replaced
                                     where given.kind = 'client' and replaced.client_id = given.value)),
         ?, revisions.revision
       from given, revisions
       where revisions.topic = 'revocations'
       on conflict (kind, value) do update set revision = excluded.revision, revoked_at = excluded.revoked_at,
         expires_at = greatest(r.expires_at, excluded.expires_at)`,
      [
        revocations.map(({ kind }) => kind),
        revocations.map(({ value }) => value),
        revocations.map((revocation) => (revocation.kind === 'token' ? revocation.clientId : '')),
        revocations.map(({ expiresAt }) => new Date(expiresAt).toISOString()),
        new Date(now),
      ],
    );
  });
}

/** The first `limit` behind `cursor`, in the order of revisions. */
export async function selectRevocations(knex: Knex, cursor: RevocationCursor, limit: number): Promise<Revocation[]> {
  const rows = await knex<RevocationRow>('revocations')
    .select('kind', 'value', 'client_id', 'revision', 'expires_at')
    .whereRaw('(revision, kind, value) > (?, ?, ?)', [cursor.revision, cursor.kind, cursor.value])
    .orderBy(['revision', 'kind', 'value'])
    .limit(limit);
  return rows.map(({ kind, value, client_id, revision, expires_at }) => ({
    ...(kind === 'token' ? { kind, clientId: client_id ?? '' } : { kind }),
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
