import type { Command } from 'commander';
import { parseApiKey, parseApiKeyClientId } from '../api-keys/index.ts';
import { isDocumentUrl } from '../clients/index.ts';
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
    .command('revoke')
    .usage('[options] [- | token]')
    .description('end one token with its grant, or all of an account, client or grant')
    .argument('[token]', '-: from standard input; as an argument it shows in the list of processes until it has ended')
    .option('--account <login>', 'all of a person, by e-mail address, user name or id, sessions too')
    .option('--client <id>', 'all that were issued to a client, or to an API key by its id', identifier)
    .option('--grant <id>', 'all that were issued under a grant', identifier)
    .action(async (value: string | undefined, whose: Whose, command: Command) => {
      if (Object.keys(whose).length + (value === undefined ? 0 : 1) !== 1) {
        command.error('error: name one thing to revoke: - (a token on standard input), --account, --client or --grant');
      }
      const presented = value === '-' ? await readSecret('token') : value;
      const revoked = await withDomains(async (domains) =>
        presented === undefined ? revokeAll(domains, whose) : revokeToken(domains, presented),
      );
      printAnswer(command, { json: { revoked }, text: `${revoked} sessions, grants and tokens ended` });
    });
}

/** Refused, with nothing written, where there is nothing of that name: a typing error must not look like success. */
async function revokeAll(domains: Domains, whose: Whose): Promise<number> {
  return domains.endAccess(await toFilter(domains, whose));
}

async function toFilter(
  { accounts, apiKeys, artifacts, clients }: Domains,
  { account, client = '', grant }: Whose,
): Promise<RevocationFilter> {
  if (account !== undefined) return { accountId: (await findAccount(accounts, account)).id };
  // What a client or a grant that is gone has left behind counts nowhere, until that is there again.
  if (grant !== undefined) {
    if ((await artifacts.find('Grant', grant)) === undefined) return noSuch(`grant ${grant}`);
    return { grantId: grant };
  }
  // In no registry, and what was issued to it counts none the less.
  if (isDocumentUrl(client)) return { clientId: client };
  const keyId = parseApiKeyClientId(client);
  const found = keyId === undefined ? await clients.find(client) : await apiKeys.show(keyId);
  if (found === undefined) return noSuch(`client ${client}`);
  return { clientId: client };
}

function noSuch(what: string): never {
  return refused({ code: 'not_found', reason: `no ${what}, and nothing that was issued under it counts` });
}

/** One token of any format and, for a person's, everything of its grant, or an API key, as the revocation endpoint does it. */
async function revokeToken(domains: Domains, value: string): Promise<number> {
  const key = parseApiKey(value);
  const revoked = key === undefined ? await domains.endToken(value) : await revokeKey(domains, key);
  if (revoked > 0) return revoked;
  return refused({ code: 'not_found', reason: 'no such token: it has expired, was revoked, or is not of this server' });
}

/** @returns how many tokens that were got with the key ended, and the key, where it is there and was not revoked before */
async function revokeKey(domains: Domains, { id, secret }: { id: string; secret: string }): Promise<number> {
  const apiKey = await domains.apiKeys.show(id);
  if (apiKey === undefined || !(await domains.apiKeys.verify(id, secret))) return 0;
  const ended = await domains.endApiKey('revoke', id);
  if (!ended.ok) return refused(ended);
  return ended.revoked + (apiKey.revokedAt === undefined ? 1 : 0);
}
