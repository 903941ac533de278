import type { Command } from 'commander';
import type { RegistrationToken } from '../clients/index.ts';
import { printAnswer, toLines, toTable } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { withDomains } from './open-domains.ts';
import { identifier, repeatable, wholeNumber } from './option-values.ts';
import { refused } from './refused.ts';

const COLUMNS = ['id', 'policies', 'uses_left', 'created_at', 'expires_at'];

/** Adds to `client` the tokens by which clients may register themselves (docs/dynamic-registration.md). */
export function addRegistrationTokenCommands(client: Command): void {
  const token = addCommandGroup(client, 'registration-token', 'the tokens by which clients may register themselves');

  token
    .command('create')
    .description('make a token, shown this once, by which a client may register itself')
    .option('--expires-in <seconds>', 'how long it is good (unless told: until it is revoked)', wholeNumber)
    .option('--uses <number>', 'how many clients may register with it (unless told: any number)', wholeNumber)
    .option(
      '--policy <name>',
      'what they may be: services, token-exchange, ciba, any-links, api:URN (repeatable)',
      repeatable,
    )
    .action(async (flags: { expiresIn?: number; uses?: number; policy?: string[] }, command: Command) => {
      const created = await withDomains(async ({ registrationTokens, clock }) => {
        const made = await registrationTokens.create({
          policies: flags.policy ?? [],
          uses: flags.uses,
          expiresAt: flags.expiresIn === undefined ? undefined : new Date(clock() + flags.expiresIn * 1_000),
        });
        return made.ok ? made : refused(made);
      });
      const json = { registration_token: created.value, ...toRecord(created.token) };
      printAnswer(command, {
        json,
        text: `${toLines(json)}\n\nKeep the registration_token now: it is not shown again.`,
      });
    });

  token
    .command('list')
    .description('list the tokens that are good, without their values')
    .action(async (_: object, command: Command) => {
      const json = (await withDomains(({ registrationTokens }) => registrationTokens.list())).map(toRecord);
      printAnswer(command, { json, text: toTable(COLUMNS, json) });
    });

  token
    .command('revoke')
    .description('end a token; the clients that registered with it stay')
    .argument('<id>', 'as listed', identifier)
    .action(async (id: string, _: object, command: Command) => {
      await withDomains(async ({ registrationTokens }) => {
        const revoked = await registrationTokens.revoke(id);
        return revoked.ok ? revoked : refused(revoked);
      });
      printAnswer(command, { json: { id, revoked: true }, text: `revoked ${id}` });
    });
}

function toRecord({ id, policies, usesLeft, createdAt, expiresAt }: RegistrationToken) {
  return { id, policies, uses_left: usesLeft, created_at: createdAt, expires_at: expiresAt };
}
