import type { Account, Accounts } from '../accounts/index.ts';
import { refused } from './refused.ts';

/** A person by e-mail address, user name or id. @throws {AppError} `not_found` */
export async function findAccount(accounts: Accounts, login: string): Promise<Account> {
  const found = (await accounts.find(login)) ?? (await accounts.findByLogin(login));
  return found ?? refused({ code: 'not_found', reason: `no account has the e-mail address, user name or id ${login}` });
}
