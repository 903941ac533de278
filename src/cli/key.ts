import type { Command } from 'commander';
import { printAnswer, toTable } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { withDomains } from './open-domains.ts';

export function addKeyCommands(program: Command): void {
  const key = addCommandGroup(program, 'key', 'the keys that sign tokens');

  key
    .command('list')
    .description('list the signing keys, without their private parts')
    .action(async (_: object, command: Command) => {
      const keys = await withDomains(({ signingKeys }) => signingKeys.list());
      const json = keys.map(({ kid, algorithm, state, createdAt, activatedAt, publicJwk }) => {
        return { kid, alg: algorithm, state, created_at: createdAt, activated_at: activatedAt, public_jwk: publicJwk };
      });
      printAnswer(command, { json, text: toTable(['kid', 'alg', 'state', 'created_at', 'activated_at'], json) });
    });
}
