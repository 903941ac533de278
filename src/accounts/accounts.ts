import { randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import type { z } from 'zod';
import type { Clock } from '../config/index.ts';
import { announceChange, type ChangeFeed } from '../database/index.ts';
import { areSameRoles, checkRoles } from '../roles.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Account, Profile } from './account.ts';
import { createAccountLookup } from './account-lookup.ts';
import { type AccountDetails, accountDetailsSchema, toLoginKey } from './account-schema.ts';
import * as store from './account-store.ts';
import type { PasswordHasher } from './password-hasher.ts';
import { passwordFault, toPasswordBytes } from './password-policy.ts';

/** Details are checked by `account-schema.ts`; what is wrong comes back as a refusal. */
type NewAccount = Readonly<{
  email: string;
  username?: string | undefined;
  password: string;
  isEmailVerified?: boolean | undefined;
  profile?: Readonly<Profile> | undefined;
  roles?: readonly string[] | undefined;
  isDemo?: boolean | undefined;
}>;

/** What is left out stays, `null` removes. A new e-mail address or phone number is unverified unless the patch says so. */
export type AccountPatch = Readonly<{
  email?: string | undefined;
  username?: string | null | undefined;
  isEmailVerified?: boolean | undefined;
  profile?: Readonly<{ [Member in keyof Profile]?: Profile[Member] | null }> | undefined;
}>;

/** `field` is a path such as `profile.birthdate`; `reason` completes "birthdate …" and may be shown. */
type AccountRefusal = Readonly<{
  ok: false;
  code: 'conflict' | 'invalid' | 'not_found';
  field: string;
  reason: string;
}>;
type AccountResult = Readonly<{ ok: true; account: Account }> | AccountRefusal;

/** `reason` and `accountId` are for the audit trail alone: an answer must not tell one from another. */
type Authentication = Readonly<
  | { ok: true; account: Account }
  | { ok: false; reason: 'unknown_account'; accountId?: undefined }
  | { ok: false; reason: 'wrong_password' | 'account_disabled'; accountId: string }
>;

type AccountAction = 'created' | 'updated' | 'disabled' | 'enabled' | 'deleted' | 'password_set' | 'roles_set';

/** Roles are named, because they say what a person may do from then on. */
export type AccountChange =
  | { action: Exclude<AccountAction, 'roles_set'>; accountId: string }
  | { action: 'roles_set'; accountId: string; roles: readonly string[] };

/** Told of every change, within its transaction: what can't be recorded doesn't happen. */
export interface AccountAudit {
  accountChanged(trx: Knex.Transaction, change: AccountChange): Promise<void>;
}

/**
 * Every function throws when the database is away; those that take a password throw {AppError} `temporarily_unavailable`
 * (503) when too many passwords are waiting to be hashed.
 */
export type Accounts = Readonly<{
  create(input: NewAccount): Promise<AccountResult>;
  /** At most one second old. A disabled account is found too: whoever asks must look at `isDisabled`. */
  find(id: string): Promise<Account | undefined>;
  /** @param login an e-mail address or a user name, upper and lower case alike */
  findByLogin(login: string): Promise<Account | undefined>;
  /**
   * Unknown, wrong and disabled get the same answer after the same one argon2 computation. The times agree while stored
   * hashes have the configured parameters; after a change of these, a hash not yet upgraded takes as long as it used to.
   */
  authenticate(login: string, password: string): Promise<Authentication>;
  /** In the order of e-mail addresses. @param page.after the e-mail address that the page before ended with */
  list(page: { limit: number; after?: string | undefined }): Promise<Account[]>;
  /** Accounts that were made for development: no place in production. */
  listDemo(): Promise<Account[]>;
  update(id: string, patch: AccountPatch): Promise<AccountResult>;
  setPassword(id: string, password: string): Promise<AccountResult>;
  /** In the place of those before. Apart from `update`: what a person may change of themselves is never this. */
  setRoles(id: string, roles: readonly string[]): Promise<AccountResult>;
  disable(id: string): Promise<AccountResult>;
  enable(id: string): Promise<AccountResult>;
  /** For good; the id is never given to anyone else. */
  delete(id: string): Promise<AccountResult>;
}>;

const ACCOUNT_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const notFound: AccountRefusal = { ok: false, code: 'not_found', field: 'id', reason: 'is not the id of an account' };

/**
 * Makes the accounts of one database.
 *
 * @param options.changeFeed tells of changes on other nodes, so that what is cached here is dropped
 * @param options.audit told of every change within its transaction: what can't be recorded doesn't happen
 */
export function createAccounts(options: {
  knex: Knex;
  changeFeed: Pick<ChangeFeed, 'subscribe' | 'isCurrent'>;
  audit: AccountAudit;
  hasher: PasswordHasher;
  logger: Logger;
  clock: Clock;
}): Accounts {
  const { knex, audit, hasher, logger, clock } = options;
  const lookup = createAccountLookup({
    load: (ids) => store.loadAccounts(knex, ids),
    isTold: options.changeFeed.isCurrent,
    clock,
  });
  options.changeFeed.subscribe('accounts', (id) => lookup.drop(id));
  const now = () => new Date(clock());

  async function loadByLogin(login: string) {
    const key = toLoginKey(login);
    return key === undefined ? undefined : store.loadByLogin(knex, key);
  }

  /** Makes, records and announces one change; what `work` answers by itself, as that nothing is to change, leaves no trace. */
  async function change(
    made: AccountChange,
    work: (trx: Knex.Transaction) => Promise<Account | AccountResult | undefined>,
    alongside: readonly AccountChange[] = [],
  ): Promise<AccountResult> {
    const { accountId } = made;
    if (!ACCOUNT_ID.test(accountId)) return notFound;
    try {
      return await knex.transaction(async (trx): Promise<AccountResult> => {
        const changed = await work(trx);
        if (changed === undefined) return notFound;
        if ('ok' in changed) return changed;
        for (const event of [made, ...alongside]) await audit.accountChanged(trx, event);
        await announceChange(trx, 'accounts', accountId);
        return { ok: true, account: changed };
      });
    } catch (error) {
      const field = store.takenField(error);
      if (field === undefined) throw error;
      return { ok: false, code: 'conflict', field, reason: 'belongs to another account' };
    } finally {
      lookup.drop(accountId);
    }
  }

  /** A sign-in that is right must not fail because this can't be done now. */
  async function upgradeHash(id: string, outdatedHash: string, password: Buffer): Promise<void> {
    try {
      await store.replacePasswordHash(knex, id, { from: outdatedHash, to: await hasher.hash(password) });
    } catch (error) {
      logger.warn({ err: error }, 'a password hash could not be upgraded; the next sign-in tries again');
    }
  }

  return Object.freeze<Accounts>({
    async create(input) {
      const { username, profile = {}, isEmailVerified = false } = input;
      const details = checkDetails({ email: input.email, username, isEmailVerified, profile });
      if ('ok' in details) return details;
      const checked = checkRoles(input.roles ?? []);
      if (!checked.ok) return refusedRoles(checked.reason);
      const hash = await hashNew(hasher, input.password);
      if (typeof hash !== 'string') return hash;
      const { roles } = checked;
      const id = randomUUID();
      const row = { ...details, id, roles, isDemo: input.isDemo ?? false, passwordHash: hash };
      return change(
        { action: 'created', accountId: id },
        (trx) => store.insertAccount(trx, { ...row, at: now() }),
        roles.length > 0 ? [{ action: 'roles_set', accountId: id, roles }] : [],
      );
    },

    async find(id) {
      return ACCOUNT_ID.test(id) ? lookup.find(id) : undefined;
    },

    async findByLogin(login) {
      return (await loadByLogin(login))?.account;
    },

    async authenticate(login, password) {
      const bytes = toPasswordBytes(password);
      const found = await loadByLogin(login);
      // Nobody has a password that is no bytes, whoever is asked for, so that this answer may be quicker than the others.
      const isRight = bytes !== undefined && (await hasher.verify(found?.passwordHash ?? hasher.decoyHash, bytes));
      if (found === undefined) return { ok: false, reason: 'unknown_account' };
      const accountId = found.account.id;
      if (found.account.isDisabled) return { ok: false, reason: 'account_disabled', accountId };
      if (!isRight) return { ok: false, reason: 'wrong_password', accountId };
      if (hasher.isOutdated(found.passwordHash)) await upgradeHash(found.account.id, found.passwordHash, bytes);
      return { ok: true, account: found.account };
    },

    list: (page) => store.loadPage(knex, page),

    listDemo: () => store.loadDemoAccounts(knex),

    update: (id, patch) =>
      change({ action: 'updated', accountId: id }, async (trx) => {
        const account = await store.lockAccount(trx, id);
        if (account === undefined) return undefined;
        const details = checkDetails(patched(account, patch));
        return 'ok' in details ? details : store.updateDetails(trx, id, details, now());
      }),

    async setPassword(id, password) {
      const hash = await hashNew(hasher, password);
      if (typeof hash !== 'string') return hash;
      return change({ action: 'password_set', accountId: id }, (trx) => store.updatePasswordHash(trx, id, hash, now()));
    },

    async setRoles(id, given) {
      const checked = checkRoles(given);
      if (!checked.ok) return refusedRoles(checked.reason);
      const { roles } = checked;
      return change({ action: 'roles_set', accountId: id, roles }, async (trx) => {
        const account = await store.lockAccount(trx, id);
        if (account === undefined) return undefined;
        if (areSameRoles(account.roles, roles)) return { ok: true, account };
        return store.updateRoles(trx, id, roles, now());
      });
    },

    disable: (id) => change({ action: 'disabled', accountId: id }, (trx) => store.updateDisabled(trx, id, true, now())),
    enable: (id) => change({ action: 'enabled', accountId: id }, (trx) => store.updateDisabled(trx, id, false, now())),
    delete: (id) => change({ action: 'deleted', accountId: id }, (trx) => store.deleteAccount(trx, id)),
  });
}

function refusedRoles(reason: string): AccountRefusal {
  return { ok: false, code: 'invalid', field: 'roles', reason };
}

async function hashNew(hasher: PasswordHasher, password: string): Promise<string | AccountRefusal> {
  const bytes = toPasswordBytes(password);
  const reason = passwordFault(password);
  if (bytes === undefined || reason !== undefined) {
    return { ok: false, code: 'invalid', field: 'password', reason: reason ?? 'is not text' };
  }
  return hasher.hash(bytes);
}

function checkDetails(details: z.input<typeof accountDetailsSchema>): AccountDetails | AccountRefusal {
  const parsed = accountDetailsSchema.safeParse(details);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [];
  return {
    ok: false,
    code: 'invalid',
    field: [...(issue?.path ?? []), ...unknown].join('.'),
    reason: unknown.length > 0 ? 'is not known' : (issue?.message ?? 'is not valid'),
  };
}

function patched(account: Account, patch: AccountPatch): z.input<typeof accountDetailsSchema> {
  const { email = account.email, username = account.username, profile: profilePatch = {} } = patch;
  const isSameEmail = email.trim().toLowerCase() === account.email.toLowerCase();
  const isSamePhone =
    profilePatch.phoneNumber === undefined || profilePatch.phoneNumber === account.profile.phoneNumber;
  const { isPhoneNumberVerified, ...rest } = account.profile;
  const profile = { ...rest, ...(isSamePhone ? { isPhoneNumberVerified } : {}), ...withoutUndefined(profilePatch) };
  return {
    email,
    username: username ?? undefined,
    isEmailVerified: patch.isEmailVerified ?? (isSameEmail && account.isEmailVerified),
    profile: Object.fromEntries(Object.entries(profile).filter(([, value]) => value !== null)),
  };
}

function withoutUndefined<T extends object>(source: T): Partial<T> {
  return Object.fromEntries(Object.entries(source).filter(([, value]) => value !== undefined)) as Partial<T>;
}
