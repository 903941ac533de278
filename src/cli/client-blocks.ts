import type { Command } from 'commander';
import { printAnswer, toTable } from './answer.ts';
import { withDomains } from './open-domains.ts';
import { identifier } from './option-values.ts';
import { refused } from './refused.ts';

/** Adds to `client` what is refused of the clients that nobody registered (docs/agents.md). */
export function addClientBlockCommands(client: Command): void {
  client
    .command('block')
    .description('refuse a client that is not registered, by its URL, or all of a host and of the domains below it')
    .argument('<url-or-host>', 'https://agent.example.com/client.json or agent.example.com', identifier)
    .action(async (pattern: string, _: object, command: Command) => {
      await withDomains(async ({ clientBlocks }) => {
        const blocked = await clientBlocks.block(pattern);
        return blocked.ok ? blocked : refused(blocked);
      });
      printAnswer(command, { json: { pattern, blocked: true }, text: `blocked ${pattern}` });
    });

  client
    .command('unblock')
    .description('let in again what was blocked')
    .argument('<url-or-host>', 'as it was blocked', identifier)
    .action(async (pattern: string, _: object, command: Command) => {
      await withDomains(async ({ clientBlocks }) => {
        const unblocked = await clientBlocks.unblock(pattern);
        return unblocked.ok ? unblocked : refused(unblocked);
      });
      printAnswer(command, { json: { pattern, blocked: false }, text: `unblocked ${pattern}` });
    });

  client
    .command('blocks')
    .description('list what is blocked')
    .action(async (_: object, command: Command) => {
      const listed = await withDomains(({ clientBlocks }) => clientBlocks.list());
      const rows = listed.map(({ pattern, createdAt }) => ({ pattern, created_at: createdAt }));
      printAnswer(command, { json: rows, text: toTable(['pattern', 'created_at'], rows) });
    });
}
