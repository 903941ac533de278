import type { Command } from 'commander';
import { AppError } from '../errors.ts';
import type { SigningKeys } from '../keys/index.ts';
import { printAnswer, toLines, toTable } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { withDomains, withKeys } from './open-domains.ts';
import { refused } from './refused.ts';
import { readText } from './standard-input.ts';

type ListedKey = Awaited<ReturnType<SigningKeys['list']>>[number];

const ALG_OPTION = ['--alg <alg>', 'one of SIGNING_ALGORITHMS'] as const;

export function addKeyCommands(program: Command): void {
  const key = addCommandGroup(program, 'key', 'the keys that sign tokens');

  key
    .command('list')
    .description('list the signing keys without their private parts, and what will happen to each by itself')
    .action(async (_: object, command: Command) => {
      const json = (await withDomains(({ signingKeys }) => signingKeys.list())).map(present);
      const columns = ['kid', 'alg', 'state', 'announced_at', 'activated_at', 'next_step', 'next_step_at'];
      const text = [toTable(columns, json), ...json.flatMap(describeSuccessor)].join('\n');
      printAnswer(command, { json, text });
      const altered = json.filter(({ public_jwk }) => public_jwk === null).map(({ kid }) => kid);
      if (altered.length > 0) throw new AppError({ code: 'server_error', message: describeAltered(altered) });
    });

  key
    .command('rotate')
    .description('let the announced keys sign, where they were announced for long enough; announce what is not yet')
    .option(ALG_OPTION[0], `${ALG_OPTION[1]}; left out: every one`)
    .option('--now', 'announced for long enough or not: who keeps an older /jwks may meet a key that it lacks')
    .action(async ({ alg, now }: { alg?: string; now?: true }, command: Command) => {
      const rotated = await withKeys(async ({ signingKeys }) => {
        const outcome = await signingKeys.rotate({ algorithm: alg, now });
        return outcome.ok ? outcome.rotated : refused(outcome);
      });
      const json = rotated.map(({ algorithm, kid, replacedKid }) => {
        return { alg: algorithm, kid, replaced_kid: replacedKid ?? null };
      });
      printAnswer(command, { json: { rotated: json }, text: toTable(['alg', 'kid', 'replaced_kid'], json) });
    });

  key
    .command('revoke <kid>')
    // One name in 64 begins with a dash.
    .allowUnknownOption()
    .description('take a key away from /jwks for good: what it signed is not valid any more')
    .option('--now', 'where it signs: let the announced key, or a new one, take its place at once')
    .action(async (kid: string, { now }: { now?: true }, command: Command) => {
      const { algorithm, signingKid } = await withDomains(async ({ signingKeys }) => {
        const outcome = await signingKeys.revoke(kid, { now });
        return outcome.ok ? outcome : refused(outcome);
      });
      const json = { kid, alg: algorithm, revoked: true, signing_kid: signingKid ?? null };
      printAnswer(command, { json, text: toLines(json) });
    });

  key
    .command('import <file>')
    .description('announce a key that was made elsewhere: PEM, a JWK, or a JWKS with one key; - is standard input')
    .option(ALG_OPTION[0], `${ALG_OPTION[1]}; left out: by the type of the key (RSA: RS256)`)
    .action(async (file: string, { alg }: { alg?: string }, command: Command) => {
      const source = file === '-' ? 'standard input' : file;
      const text = await readText(file, source);
      const { kid, algorithm, replacedKid, signsFrom } = await withKeys(async ({ signingKeys }) => {
        const outcome = await signingKeys.importKey(text, { algorithm: alg });
        return outcome.ok ? outcome : refused({ ...outcome, reason: `${source}: ${outcome.reason}` });
      });
      const json = { kid, alg: algorithm, state: 'next', signs_from: signsFrom, replaced_kid: replacedKid ?? null };
      printAnswer(command, { json, text: toLines(json) });
    });

  key
    .command('reseal')
    .description('seal every key and secret anew under the newest key-encryption key, so that older ones can go')
    .action(async (_: object, command: Command) => {
      const json = await withKeys(async ({ signingKeys, serverSecrets }) => ({
        signing_keys: await signingKeys.reseal(),
        server_secrets: await serverSecrets.reseal(),
      }));
      printAnswer(command, { json, text: toLines(json) });
    });
}

function describeAltered(kids: readonly string[]): string {
  return `the public part of ${kids.join(', ')} was altered in the database: restore the table signing_keys from a backup`;
}

function describeSuccessor({ alg, successor_announced_at }: ReturnType<typeof present>): string[] {
  if (successor_announced_at === null) return [];
  return [`the next key of ${alg} is to be announced at ${successor_announced_at.toISOString()}`];
}

function present({ kid, algorithm, state, publicJwk, nextStep, successorAnnouncedAt, ...times }: ListedKey) {
  return {
    kid,
    alg: algorithm,
    state,
    created_at: times.createdAt,
    announced_at: times.announcedAt,
    activated_at: times.activatedAt ?? null,
    retired_at: times.retiredAt ?? null,
    revoked_at: times.revokedAt ?? null,
    next_step: nextStep?.step ?? null,
    next_step_at: nextStep?.at ?? null,
    successor_announced_at: successorAnnouncedAt ?? null,
    public_jwk: publicJwk ?? null,
  };
}
