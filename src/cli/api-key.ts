import type { Command } from 'commander';
import {
  type ApiKey,
  type ApiKeyOwner,
  type ApiKeys,
  isMeantAsApiKey,
  parseApiKeyClientId,
  toApiKeyClientId,
  toDay,
} from '../api-keys/index.ts';
import type { Domains } from '../compose/index.ts';
import { AppError } from '../errors.ts';
import { printAnswer, toTable } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { findAccount } from './find-account.ts';
import { withDomains } from './open-domains.ts';
import { day, identifier, repeatable, time, wholeNumber, wholeNumberOrZero, words } from './option-values.ts';
import { presentApiKey, toApiKeyAnswer, withPreviousSecret } from './present-api-key.ts';
import { refused } from './refused.ts';

type OwnerFlags = { client?: string; account?: string };
type NewKeyFlags = OwnerFlags & {
  name: string;
  scope: string;
  api?: string[];
  expires?: Date;
  allow?: string[];
  quota?: number;
  quotaWindow?: number;
  rate?: number;
};

type Refusal = Extract<Awaited<ReturnType<ApiKeys['revoke']>>, { ok: false }>;

const COLUMNS = ['id', 'name', 'client', 'account', 'scope', 'apis', 'state', 'last_used_at'];
/** The last week and today. */
const USAGE_DAYS = 7;
const DAY_MS = 24 * 60 * 60 * 1_000;

export function addApiKeyCommands(program: Command): void {
  const apiKey = addCommandGroup(program, 'api-key', 'the API keys of clients and people');

  const create = apiKey
    .command('create')
    .description('make an API key, which is shown this once')
    .requiredOption('--name <name>', 'what it is called, for people (required)')
    .requiredOption('--scope <scopes>', 'what it may ask for, in one argument: "orders:read orders:write" (required)');
  withOwner(create)
    .option(
      '--api <urn>',
      "an API that it is for; for a client, none named: those of the client's that own the scopes (repeatable)",
      repeatable,
    )
    .option('--expires <time>', 'when it ends, as 2027-01-31T00:00:00Z', time)
    .option(
      '--allow <cidr>',
      'an address or a range that it may be used from; none named: any (repeatable)',
      repeatable,
    )
    .option('--quota <requests>', 'so many requests in each window', wholeNumber)
    .option('--quota-window <seconds>', 'how long a window is (86400 unless told)', wholeNumber)
    .option('--rate <requests>', 'so many requests per second, in each process of the server', wholeNumber)
    .action(async (flags: NewKeyFlags, command: Command) => {
      if (flags.quotaWindow !== undefined && flags.quota === undefined) {
        command.error('error: --quota-window wants --quota');
      }
      if (ownersGiven(flags) !== 1) command.error('error: name one owner: --client or --account');
      printAnswer(
        command,
        await withDomains(async (domains) => {
          const owner = await findOwner(domains, flags);
          const made = await domains.apiKeys.create({
            owner,
            name: flags.name,
            scopes: words(flags.scope),
            apis: flags.api,
            expiresAt: flags.expires,
            allowedAddresses: flags.allow,
            quota:
              flags.quota === undefined
                ? undefined
                : { requests: flags.quota, windowSeconds: flags.quotaWindow ?? DAY_MS / 1_000 },
            ratePerSecond: flags.rate,
          });
          return made.ok ? toApiKeyAnswer(made.apiKey, domains.clock(), made.key) : refusedKey(made);
        }),
      );
    });

  withOwner(apiKey.command('list'))
    .description('list the API keys, of an owner or all, in the order of their ids')
    .option('--limit <number>', 'at most so many', wholeNumber)
    .option('--after <id>', 'those behind this id', keyId)
    .action(async (flags: OwnerFlags & { limit?: number; after?: string }, command: Command) => {
      if (ownersGiven(flags) > 1) command.error('error: name one owner: --client or --account');
      const json = await withDomains(async (domains) => {
        const owner = ownersGiven(flags) === 0 ? undefined : await findOwner(domains, flags);
        const listed = await domains.apiKeys.list({ owner, limit: flags.limit, after: flags.after });
        return listed.map((it) => presentApiKey(it, domains.clock()));
      });
      printAnswer(command, { json, text: toTable(COLUMNS, json) });
    });

  apiKey
    .command('show')
    .description('show an API key, without its secret')
    .argument('<id>', 'as tsk_…', keyId)
    .action(async (id: string, _: object, command: Command) => {
      printAnswer(
        command,
        await withDomains(async (domains) => toApiKeyAnswer(await find(domains, id), domains.clock())),
      );
    });

  apiKey
    .command('roll')
    .description(
      'make a new secret for an API key, shown this once; the id stays, and the old one lives on for a while',
    )
    .argument('<id>', 'as tsk_…', keyId)
    .option('--overlap <seconds>', 'how long the old one lives: 0 to 2592000 (86400 unless told)', wholeNumberOrZero)
    .action(async (id: string, { overlap }: { overlap?: number }, command: Command) => {
      printAnswer(
        command,
        await withDomains(async (domains) => {
          const rolled = await domains.apiKeys.roll(id, { overlapSeconds: overlap });
          if (!rolled.ok) return refusedKey(rolled);
          return withPreviousSecret(toApiKeyAnswer(rolled.apiKey, domains.clock(), rolled.key), rolled.previousUntil);
        }),
      );
    });

  for (const [name, description] of [
    ['revoke', 'end an API key for good, and the tokens that were got with it'],
    ['disable', 'refuse an API key until it is enabled again, and end the tokens that were got with it'],
  ] as const) {
    apiKey
      .command(name)
      .description(description)
      .argument('<id>', 'as tsk_…', keyId)
      .action(async (id: string, _: object, command: Command) => {
        const { answer, revoked } = await withDomains(async (domains) => {
          const ended = await domains.endApiKey(name, id);
          if (!ended.ok) return refusedKey(ended);
          return { answer: toApiKeyAnswer(ended.apiKey, domains.clock()), revoked: ended.revoked };
        });
        printAnswer(command, { json: { ...answer.json, revoked }, text: `${answer.text}\n\n${revoked} tokens ended` });
      });
  }

  apiKey
    .command('enable')
    .description('let a disabled API key be used again')
    .argument('<id>', 'as tsk_…', keyId)
    .action(async (id: string, _: object, command: Command) => {
      printAnswer(
        command,
        await withDomains(async (domains) => {
          const changed = await domains.enableApiKey(id);
          return changed.ok ? toApiKeyAnswer(changed.apiKey, domains.clock()) : refusedKey(changed);
        }),
      );
    });

  withOwner(apiKey.command('usage'))
    .description('how often API keys were used, per API and day (UTC): of one key, or of all keys of an owner')
    .argument('[id]', 'as tsk_…', keyId)
    .option('--from <day>', 'the first day, as 2026-11-25 (a week ago unless told)', day)
    .option('--to <day>', 'the last day (today unless told)', day)
    .action(async (id: string | undefined, flags: OwnerFlags & { from?: string; to?: string }, command: Command) => {
      if (ownersGiven(flags) + (id === undefined ? 0 : 1) !== 1) {
        command.error('error: name one: the id of a key, --client or --account');
      }
      const json = await withDomains(async (domains) => {
        const whose = id === undefined ? { owner: await findOwner(domains, flags) } : await find(domains, id);
        const from = flags.from ?? toDay(domains.clock() - USAGE_DAYS * DAY_MS);
        const used = await domains.apiKeys.usage(whose, { from, to: flags.to ?? toDay(domains.clock()) });
        return used.map((it) => ({ day: it.day, id: toApiKeyClientId(it.id), api: it.api, requests: it.requests }));
      });
      printAnswer(command, { json, text: toTable(['day', 'id', 'api', 'requests'], json) });
    });
}

function withOwner(command: Command): Command {
  return command
    .option('--client <id>', 'of a client that may use client_credentials', identifier)
    .option('--account <login>', 'of a person, by e-mail address, user name or id', identifier);
}

function ownersGiven({ client, account }: OwnerFlags): number {
  return [client, account].filter((given) => given !== undefined).length;
}

async function findOwner({ accounts, clients }: Domains, { client, account }: OwnerFlags): Promise<ApiKeyOwner> {
  if (account !== undefined) return { kind: 'account', accountId: (await findAccount(accounts, account)).id };
  const found = client === undefined ? undefined : await clients.find(client);
  if (found === undefined) return refused({ code: 'not_found', reason: `no client ${client} is registered` });
  return { kind: 'client', clientId: found.id };
}

async function find({ apiKeys }: Domains, id: string): Promise<ApiKey> {
  const found = await apiKeys.show(id);
  return found ?? refused({ code: 'not_found', reason: `there is no API key ${toApiKeyClientId(id)}` });
}

/** The member at fault has the name that it has in the answer. @throws {AppError} always */
function refusedKey({ code, field, reason }: Refusal): never {
  const member = field?.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return refused({ code, reason: member === undefined ? reason : `${member}: ${reason}` });
}

/** With the prefix or without. What has another form is not repeated: it may be a whole key. */
function keyId(value: string): string {
  const id = parseApiKeyClientId(isMeantAsApiKey(value) ? value : toApiKeyClientId(value));
  // Commander would repeat it in its own error.
  if (id === undefined)
    throw new AppError({ code: 'invalid_request', message: 'wants the id of a key: tsk_ and 16 characters' });
  return id;
}
