import type { Knex } from 'knex';

/** Without its value, of which only the digest is stored. */
export type StoredRegistrationToken = Readonly<{
  id: string;
  policies: readonly string[];
  /** Undefined: any number. */
  usesLeft: number | undefined;
  createdAt: Date;
  expiresAt: Date | undefined;
}>;

type Row = {
  id: string;
  digest: Buffer;
  policies: string[];
  uses_left: number | null;
  created_at: Date;
  expires_at: Date | null;
};

const TABLE = 'registration_tokens';

export async function insertToken(trx: Knex, token: StoredRegistrationToken, digest: Buffer): Promise<void> {
  await trx<Row>(TABLE).insert({
    id: token.id,
    digest,
    policies: [...token.policies],
    uses_left: token.usesLeft ?? null,
    created_at: token.createdAt,
    expires_at: token.expiresAt ?? null,
  });
}

/** Those that are alive, the oldest first. */
export async function listTokens(db: Knex, now: Date): Promise<StoredRegistrationToken[]> {
  const rows = await living(db, now).orderBy('created_at').select();
  return rows.map(toToken);
}

export async function findToken(db: Knex, digest: Buffer, now: Date): Promise<StoredRegistrationToken | undefined> {
  const row = await living(db, now).where({ digest }).first();
  return row && toToken(row);
}

/** @returns whether one was left: of any number of concurrent calls, as many succeed as there are */
export async function takeUse(db: Knex, id: string, now: Date): Promise<boolean> {
  const taken = await living(db, now)
    .where({ id })
    .update({ uses_left: db.raw('uses_left - 1') });
  return taken > 0;
}

export async function giveUseBack(db: Knex, id: string): Promise<void> {
  await db(TABLE)
    .where({ id })
    .update({ uses_left: db.raw('uses_left + 1') });
}

/** @returns false when there is none */
export async function deleteToken(trx: Knex, id: string): Promise<boolean> {
  return (await trx(TABLE).where({ id }).delete()) > 0;
}

/** Removes those that are used up or over. @returns how many, at most `batch.size` */
export async function deleteSpentTokens(db: Knex, batch: { size: number; now: Date }): Promise<number> {
  const spent = db<Row>(TABLE)
    .where((either) => either.where('expires_at', '<=', batch.now).orWhere('uses_left', 0))
    .limit(batch.size)
    .select('id');
  return db(TABLE).whereIn('id', spent).delete();
}

function living(db: Knex, now: Date) {
  return db<Row>(TABLE)
    .where((either) => either.whereNull('expires_at').orWhere('expires_at', '>', now))
    .where((either) => either.whereNull('uses_left').orWhere('uses_left', '>', 0));
}

function toToken(row: Row): StoredRegistrationToken {
  return Object.freeze({
    id: row.id,
    policies: row.policies,
    usesLeft: row.uses_left ?? undefined,
    createdAt: row.created_at,
    expiresAt: row.expires_at ?? undefined,
  });
}
