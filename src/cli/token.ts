import type { Command } from 'commander';
import type { AuditEvent } from '../audit/index.ts';
import type { Domains } from '../compose.ts';
import type { ArtifactKind, ArtifactPayload, RevocationFilter } from '../tokens/index.ts';
import { printAnswer } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { findAccount } from './find-account.ts';
import { withDomains } from './open-domains.ts';
import { identifier } from './option-values.ts';
import { refused } from './refused.ts';
import { OPERATOR, revokeAccess } from './revoke-access.ts';
import { readSecret } from './standard-input.ts';

type Whose = { account?: string; client?: string; grant?: string };
type TokenKind = Extract<AuditEvent, { type: 'token.revoked' }>['kind'];

/** The tokens that can be revoked by their value (RFC 7009), and what the audit trail calls them. */
const KINDS: readonly [ArtifactKind, TokenKind][] = [
  ['AccessToken', 'access'],
  ['RefreshToken', 'refresh'],
  ['ClientCredentials', 'client_credentials'],
];

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
  const revoked = await revokeAccess(domains, filter);
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

/** One token and, for a person's, everything of its grant, as the revocation endpoint does it. */
async function revokeToken(domains: Domains, value: string): Promise<number> {
  const [kind, payload, auditKind] = await findToken(domains, value);
  const { grantId } = payload;
  await domains.audit.record({ type: 'token.revoked', kind: auditKind, ...partiesOf(payload) }, OPERATOR);
  await domains.artifacts.destroy(kind, value);
  const others = typeof grantId === 'string' ? await revokeAccess(domains, { grantId }) : 0;
  return 1 + others;
}

async function findToken({ artifacts }: Domains, value: string): Promise<[ArtifactKind, ArtifactPayload, TokenKind]> {
  // Our opaque tokens have no dot, every JWT has two or more.
  if (value.includes('.')) {
    return refused({
      code: 'unsupported',
      reason:
        "this is a JWT, which this version can't revoke by its value: it ends at its exp, or for a person with its grant (--grant with its grant_id)",
    });
  }
  for (const [kind, auditKind] of KINDS) {
    const payload = await artifacts.find(kind, value);
    if (payload !== undefined) return [kind, payload, auditKind];
  }
  return refused({ code: 'not_found', reason: 'no such token: it has expired, was revoked, or is not of this server' });
}

function partiesOf(payload: ArtifactPayload): { accountId?: string; clientId?: string; grantId?: string } {
  const named = ['accountId', 'clientId', 'grantId'].filter((member) => typeof payload[member] === 'string');
  return Object.fromEntries(named.map((member) => [member, String(payload[member])]));
}
