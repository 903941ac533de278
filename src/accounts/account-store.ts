import type { Knex } from 'knex';
import type { Account } from './account.ts';
import { claimsToProfile, profileToClaims } from './account-claims.ts';
import type { AccountDetails } from './account-schema.ts';

type AccountRow = {
  id: string;
  email: string;
  username: string | null;
  is_email_verified: boolean;
  is_disabled: boolean;
  is_demo: boolean;
  profile: Record<string, unknown>;
  roles: string[];
  password_hash: string;
  created_at: Date;
  updated_at: Date;
};

/** Both unique indexes, by the field whose value was taken. */
const fieldByConstraint: Record<string, 'email' | 'username'> = {
  accounts_email_unique: 'email',
  accounts_username_unique: 'username',
};

/** The rows of all of `ids` that exist, in one statement. */
export async function loadAccounts(knex: Knex, ids: readonly string[]): Promise<Account[]> {
  const rows = await knex<AccountRow>('accounts').whereRaw('id = any(?::uuid[])', [[...ids]]);
  return rows.map(toAccount);
}

/** @param loginKey from `toLoginKey`. A name with @ is an e-mail address, any other a user name */
export async function loadByLogin(
  knex: Knex,
  loginKey: string,
): Promise<{ account: Account; passwordHash: string } | undefined> {
  const column = loginKey.includes('@') ? 'email' : 'username';
  const row = await knex<AccountRow>('accounts').whereRaw('lower(?? collate "C") = ?', [column, loginKey]).first();
  return row && { account: toAccount(row), passwordHash: row.password_hash };
}

/** A page in the order of e-mail addresses. @param after the address that the page before ended with */
export async function loadPage(knex: Knex, page: { limit: number; after?: string | undefined }): Promise<Account[]> {
  const query = knex<AccountRow>('accounts').orderByRaw('lower(email collate "C")').limit(page.limit);
  if (page.after !== undefined) query.whereRaw('lower(email collate "C") > lower(? collate "C")', [page.after]);
  return (await query).map(toAccount);
}

/** Accounts that were made for development. */
export async function loadDemoAccounts(knex: Knex): Promise<Account[]> {
  return (await knex<AccountRow>('accounts').where({ is_demo: true })).map(toAccount);
}

/** Reads one account and keeps others from changing it until the transaction ends. */
export async function lockAccount(trx: Knex.Transaction, id: string): Promise<Account | undefined> {
  const row = await trx<AccountRow>('accounts').where({ id }).forUpdate().first();
  return row && toAccount(row);
}

/** @throws a unique violation; {@link takenField} says of what */
export async function insertAccount(
  trx: Knex.Transaction,
  account: AccountDetails & { id: string; roles: string[]; isDemo: boolean; passwordHash: string; at: Date },
): Promise<Account> {
  const [row] = await trx<AccountRow>('accounts').insert(
    {
      id: account.id,
      is_demo: account.isDemo,
      roles: account.roles,
      password_hash: account.passwordHash,
      created_at: account.at,
      updated_at: account.at,
      ...detailColumns(account),
    },
    '*',
  );
  return toAccount(row as AccountRow);
}

/** @throws a unique violation; {@link takenField} says of what */
export async function updateDetails(
  trx: Knex.Transaction,
  id: string,
  details: AccountDetails,
  at: Date,
): Promise<Account | undefined> {
  return updateRow(trx, id, { ...detailColumns(details), updated_at: at });
}

export async function updateDisabled(
  trx: Knex.Transaction,
  id: string,
  isDisabled: boolean,
  at: Date,
): Promise<Account | undefined> {
  return updateRow(trx, id, { is_disabled: isDisabled, updated_at: at });
}

export async function updateRoles(
  trx: Knex.Transaction,
  id: string,
  roles: string[],
  at: Date,
): Promise<Account | undefined> {
  return updateRow(trx, id, { roles, updated_at: at });
}

export async function updatePasswordHash(
  trx: Knex.Transaction,
  id: string,
  passwordHash: string,
  at: Date,
): Promise<Account | undefined> {
  return updateRow(trx, id, { password_hash: passwordHash, updated_at: at });
}

/** Puts the same password under newer parameters, unless the hash has changed since it was read: then that one stands. */
export async function replacePasswordHash(
  knex: Knex,
  id: string,
  hashes: { from: string; to: string },
): Promise<boolean> {
  const count = await knex<AccountRow>('accounts')
    .where({ id, password_hash: hashes.from })
    .update({ password_hash: hashes.to });
  return count > 0;
}

export async function deleteAccount(trx: Knex.Transaction, id: string): Promise<Account | undefined> {
  const [row] = await trx<AccountRow>('accounts').where({ id }).delete('*');
  return row && toAccount(row);
}

/** Which field's value another account has, where that is what a write failed of. */
export function takenField(error: unknown): 'email' | 'username' | undefined {
  if (!(error instanceof Error) || !('code' in error) || error.code !== '23505' || !('constraint' in error)) {
    return undefined;
  }
  return fieldByConstraint[String(error.constraint)];
}

async function updateRow(
  trx: Knex.Transaction,
  id: string,
  columns: Partial<AccountRow>,
): Promise<Account | undefined> {
  const [row] = await trx<AccountRow>('accounts').where({ id }).update(columns, '*');
  return row && toAccount(row);
}

function detailColumns(details: AccountDetails) {
  return {
    email: details.email,
    username: details.username ?? null,
    is_email_verified: details.isEmailVerified,
    profile: profileToClaims(details.profile),
  };
}

function toAccount(row: AccountRow): Account {
  return Object.freeze({
    id: row.id,
    email: row.email,
    isEmailVerified: row.is_email_verified,
    username: row.username ?? undefined,
    isDisabled: row.is_disabled,
    isDemo: row.is_demo,
    profile: Object.freeze(claimsToProfile(row.profile)),
    roles: Object.freeze(row.roles),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  });
}
