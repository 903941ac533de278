/**
 * Owns people: who they are, their passwords and whether they may sign in. Refuses to know how they sign in: it counts no
 * attempts (`limits/`), holds no session or grant, and never hands out a password hash.
 */
export type { Account, Profile } from './account.ts';
export { toClaims } from './account-claims.ts';
export {
  type AccountAction,
  type AccountAudit,
  type AccountPatch,
  type AccountRefusal,
  type AccountResult,
  type Accounts,
  createAccounts,
  type NewAccount,
} from './accounts.ts';
export { createPasswordHasher, type PasswordHasher } from './password-hasher.ts';
