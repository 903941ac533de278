import type { Command } from 'commander';
import type { Knex } from 'knex';
import { loadConfig } from '../config/index.ts';
import { migrateDown, migrateUp, migrationStatus, openDatabase } from '../database/index.ts';
import { printAnswer } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { commandLogger } from './open-domains.ts';

/** For the look at what is pending; migrating has connections of its own. */
const POOL_SIZE = 2;

export function addMigrateCommands(program: Command): void {
  const migrate = addCommandGroup(program, 'migrate', 'the database schema');

  migrate
    .command('up')
    .description('bring the schema up to date')
    .action(async (_: object, command: Command) => {
      const applied = await withKnex(migrateUp);
      const text =
        applied.length === 0 ? 'the schema is up to date' : `applied\n  ${applied.map(fileName).join('\n  ')}`;
      printAnswer(command, { json: { applied: applied.map(fileName) }, text });
    });

  migrate
    .command('down')
    .description('take back what the last "migrate up" applied, and all data in it')
    .action(async (_: object, command: Command) => {
      const reverted = await withKnex(migrateDown);
      const text =
        reverted.length === 0 ? 'nothing to take back' : `took back\n  ${reverted.map(fileName).join('\n  ')}`;
      printAnswer(command, { json: { reverted: reverted.map(fileName) }, text });
    });

  migrate
    .command('status')
    .description('show which migrations have been applied and which have not')
    .action(async (_: object, command: Command) => {
      const { applied, pending } = await withKnex(migrationStatus);
      const lines = [
        ...applied.map((name) => `applied  ${fileName(name)}`),
        ...pending.map((name) => `pending  ${fileName(name)}`),
      ];
      printAnswer(command, {
        json: { applied: applied.map(fileName), pending: pending.map(fileName) },
        text: lines.join('\n'),
      });
    });
}

/** On the direct connection: what a migration locks must not be shared out by a pooler. */
async function withKnex<T>(work: (knex: Knex) => Promise<T>): Promise<T> {
  const config = loadConfig(process.env);
  const logger = commandLogger(config);
  const { openEnvironmentDatabase } = await import('../compose/index.ts');
  const opened = await openEnvironmentDatabase(config, logger);
  const direct = openDatabase({ url: opened.directUrl, poolSize: POOL_SIZE, logger });
  try {
    return await work(direct.knex);
  } finally {
    await direct.close();
    await opened.close();
  }
}

/** knex names an applied migration by its file and a pending one, at times, by its path. */
function fileName(migration: string): string {
  return migration.slice(migration.lastIndexOf('/') + 1);
}
