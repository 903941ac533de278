import type { Command } from 'commander';
import { type Account, type Accounts, toClaims } from '../accounts/index.ts';
import type { Domains } from '../compose/index.ts';
import { type Answer, printAnswer, toLines, toTable } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { findAccount } from './find-account.ts';
import { withDomains } from './open-domains.ts';
import { repeatable, wholeNumber } from './option-values.ts';
import { refused } from './refused.ts';
import { readSecret } from './standard-input.ts';

/** Accounts that are read at once, where all are asked for. */
const PAGE_SIZE = 1_000;
const ROLE_OPTION = ['--role <role>', 'what APIs are told that they are, in their tokens (repeatable)'] as const;
const PASSWORD_OPTION = ['--password-stdin', 'take the password from standard input'] as const;

type AccountResult = Awaited<ReturnType<Accounts['disable']>>;
type NewUserFlags = { email: string; username?: string; name?: string; verified?: boolean; role?: string[] };

export function addUserCommands(program: Command): void {
  const user = addCommandGroup(program, 'user', 'the people who sign in');

  user
    .command('create')
    .description('add a person')
    .requiredOption('--email <email>', 'the e-mail address, which is also a name to sign in with')
    .option('--username <username>', 'another name to sign in with')
    .option('--name <name>', 'the full name')
    .option('--verified', 'the e-mail address is known to be theirs')
    .option(...ROLE_OPTION, repeatable)
    .requiredOption(...PASSWORD_OPTION)
    .action(async ({ email, username, name, verified, role: roles }: NewUserFlags, command: Command) => {
      const password = await readSecret('--password-stdin');
      const account = await withDomains(async ({ accounts }) => {
        const profile = name === undefined ? {} : { name };
        const created = await accounts.create({ email, username, password, isEmailVerified: verified, profile, roles });
        return created.ok ? created.account : refusedAccount(created);
      });
      printAnswer(command, toAnswer(account));
    });

  user
    .command('list')
    .description('list the people, in the order of their e-mail addresses')
    .option('--limit <number>', 'at most so many', wholeNumber)
    .option('--after <email>', 'those behind this e-mail address')
    .action(async (page: { limit?: number; after?: string }, command: Command) => {
      const json = (await withDomains(({ accounts }) => listAccounts(accounts, page))).map(present);
      printAnswer(command, { json, text: toTable(['id', 'email', 'username', 'name', 'disabled'], json) });
    });

  user
    .command('show <login>')
    .description('show a person, by e-mail address, user name or id')
    .action(async (login: string, _: object, command: Command) => {
      printAnswer(command, toAnswer(await withDomains(({ accounts }) => findAccount(accounts, login))));
    });

  user
    .command('set-password <login>')
    .description('set a new password and end their sessions, grants and tokens')
    .requiredOption(...PASSWORD_OPTION)
    .action(async (login: string, _: object, command: Command) => {
      const password = await readSecret('--password-stdin');
      await changeAndEnd(command, login, ({ accounts }, { id }) => accounts.setPassword(id, password));
    });

  user
    .command('set-roles <login>')
    .description('set the roles, in the place of those before; none named: take all away')
    .option(...ROLE_OPTION, repeatable)
    .action(async (login: string, { role: roles = [] }: { role?: string[] }, command: Command) => {
      const changed = await withDomains(async ({ accounts }) => {
        const { id } = await findAccount(accounts, login);
        const result = await accounts.setRoles(id, roles);
        return result.ok ? result.account : refusedAccount(result);
      });
      printAnswer(command, toAnswer(changed));
    });

  user
    .command('disable <login>')
    .description('refuse a person everywhere, and end their sessions, grants and tokens')
    .action((login: string, _: object, command: Command) =>
      changeAndEnd(command, login, ({ accounts }, { id }) => accounts.disable(id)),
    );

  user
    .command('enable <login>')
    .description('let a disabled person sign in again')
    .action(async (login: string, _: object, command: Command) => {
      const enabled = await withDomains(async ({ accounts }) => {
        const { id } = await findAccount(accounts, login);
        const result = await accounts.enable(id);
        return result.ok ? result.account : refusedAccount(result);
      });
      printAnswer(command, toAnswer(enabled));
    });

  user
    .command('delete <login>')
    .description('delete a person for good, and end their sessions, grants and tokens')
    .action(async (login: string, _: object, command: Command) => {
      const { id, email, revoked } = await withDomains(async (domains) => {
        const found = await findAccount(domains.accounts, login);
        const deleted = await domains.accounts.delete(found.id);
        if (!deleted.ok) return refusedAccount(deleted);
        return { ...found, revoked: await domains.endAccess({ accountId: found.id }) };
      });
      const text = `deleted ${email} and ${revoked} of their sessions, grants and tokens`;
      printAnswer(command, { json: { id, email, deleted: true, revoked }, text });
    });
}

/** A change after which nothing that the person holds may live on. */
async function changeAndEnd(
  command: Command,
  login: string,
  change: (domains: Domains, account: Account) => Promise<AccountResult>,
): Promise<void> {
  const { account, revoked } = await withDomains(async (domains) => {
    const result = await change(domains, await findAccount(domains.accounts, login));
    if (!result.ok) return refusedAccount(result);
    return { account: result.account, revoked: await domains.endAccess({ accountId: result.account.id }) };
  });
  const { json, text } = toAnswer(account);
  printAnswer(command, { json: { ...json, revoked }, text: `${text}\n\n${revoked} sessions, grants and tokens ended` });
}

async function listAccounts(accounts: Accounts, page: { limit?: number; after?: string }): Promise<Account[]> {
  const listed: Account[] = [];
  const wanted = page.limit ?? Number.POSITIVE_INFINITY;
  let after = page.after;
  while (listed.length < wanted) {
    const limit = Math.min(PAGE_SIZE, wanted - listed.length);
    const next = await accounts.list({ limit, after });
    listed.push(...next);
    if (next.length < limit) break;
    after = next.at(-1)?.email;
  }
  return listed;
}

function refusedAccount({ code, field, reason }: Extract<AccountResult, { ok: false }>): never {
  return refused({ code, reason: `${field} ${reason}` });
}

function toAnswer(account: Account): Answer & { json: Record<string, unknown> } {
  const json = present(account);
  return { json, text: toLines(json) };
}

/** The account with its standard claims (OpenID Connect Core, section 5.1); `updated_at` is a time here. */
function present(account: Account): Record<string, unknown> {
  const { sub, email, email_verified, preferred_username, updated_at, ...claims } = toClaims(account);
  return {
    id: account.id,
    email: account.email,
    email_verified: account.isEmailVerified,
    ...(account.username === undefined ? {} : { username: account.username }),
    ...claims,
    roles: account.roles,
    disabled: account.isDisabled,
    created_at: account.createdAt,
    updated_at: account.updatedAt,
  };
}
