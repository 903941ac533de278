import type { Command } from 'commander';
import type { Domains } from '../compose/index.ts';
import type { RevocationFilter } from '../tokens/index.ts';
import { printAnswer } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { findAccount } from './find-account.ts';
import { withDomains } from './open-domains.ts';
import { identifier } from './option-values.ts';
import { refused } from './refused.ts';
import { readSecret } from './standard-input.ts';

type Whose = { account?: string; client?: string; grant?: string };

export function addTokenCommands(program: Command): void {
  const token = addCommandGroup(program, 'token', 'the tokens that were issued');

  token
    .command('revoke [token]')
    .description('end one token with its grant (- reads it from standard input), or all of an account, client or grant')
    .option('--account <login>', 'all of a person, by e-mail address, user name or id, sessions too')
    .option('--client <id>', 'all that were issued to a client', identifier)
    .option('--grant <id>', 'all that were issued under a grant', identifier)
    .action(async (value: string | undefined, whose: Whose, command: Command) => {
      if (Object.keys(whose).length + (value === undefined ? 0 : 1) !== 1) {
        command.error('error: name one thing to revoke: a token, --account, --client or --grant');
      }
      const presented = value === '-' ? await readSecret('token') : value;
      const revoked = await withDomains(async (domains) =>
        presented === undefined ? revokeAll(domains, whose) : revokeToken(domains, presented),
      );
      printAnswer(command, { json: { revoked }, text: `revoked ${revoked}` });
    });
}

/** Refused where nothing was found under that name: a typing error must not look like success. */
async function revokeAll(domains: Domains, whose: Whose): Promise<number> {
  const filter = await toFilter(domains, whose);
  const revoked = await domains.endAccess(filter);
  if (revoked > 0 || 'accountId' in filter) return revoked;
  if ('clientId' in filter && (await domains.clients.find(filter.clientId)) !== undefined) return revoked;
  const what = 'grantId' in filter ? `grant ${filter.grantId}` : `client ${filter.clientId}`;
  return refused({ code: 'not_found', reason: `no ${what}, and nothing that was issued under it` });
}

async function toFilter({ accounts }: Domains, { account, client = '', grant }: Whose): Promise<RevocationFilter> {
  if (account !== undefined) return { accountId: (await findAccount(accounts, account)).id };
  // A client or a grant that is gone may have left something behind, so neither has to exist.
  return grant === undefined ? { clientId: client } : { grantId: grant };
}

/** One token of any format and, for a person's, everything of its grant, as the revocation endpoint does it. */
async function revokeToken(domains: Domains, value: string): Promise<number> {
  const revoked = await domains.endToken(value);
  if (revoked > 0) return revoked;
  return refused({ code: 'not_found', reason: 'no such token: it has expired, was revoked, or is not of this server' });
}
