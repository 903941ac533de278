import type { Command } from 'commander';

export function addServeCommand(program: Command): void {
  program
    .command('serve')
    .description('start the server, as npm start does')
    .action(async () => {
      await import('../main.ts');
    });
}
