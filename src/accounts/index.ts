/**
 * Owns people: who they are, their passwords and whether they may sign in. Refuses to know how they sign in: it counts no
 * attempts (`limits/`), holds no session or grant, and never hands out a password hash.
 */
export type { Account } from './account.ts';
export { toClaims } from './account-claims.ts';
export { type AccountAudit, type Accounts, createAccounts } from './accounts.ts';
export { createPasswordHasher } from './password-hasher.ts';
