import { Command, CommanderError } from 'commander';
import { addApiCommands } from './api.ts';
import { addApiKeyCommands } from './api-key.ts';
import { addAuditCommands } from './audit.ts';
import { addClientCommands } from './client.ts';
import { addDoctorCommand } from './doctor.ts';
import { oneLine, toFaultLine } from './fault-line.ts';
import { addKeyCommands } from './key.ts';
import { addMigrateCommands } from './migrate.ts';
import { addServeCommand } from './serve.ts';
import { addTokenCommands } from './token.ts';
import { addUserCommands } from './user.ts';

const FAULT = 1;
const WRONG_USAGE = 2;

/**
 * Runs one command; what goes wrong is told in one line on standard error.
 *
 * @param given what stands behind the name of the program
 * @returns the exit code: 0, 1 after a fault or refusal, 2 after wrong usage
 */
export async function runCommandLine(given: readonly string[]): Promise<number> {
  // A reader that has seen enough (`tessera audit tail | head`) is no fault.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : FAULT));
  try {
    await createProgram().parseAsync(given, { from: 'user' });
    return 0;
  } catch (error) {
    // Commander has said it already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USAGE;
    process.stderr.write(`error: ${toFaultLine(error)}\n`);
    return FAULT;
  }
}

function createProgram(): Command {
  // The settings come first: a command takes them over when it is added.
  const program = new Command('tessera')
    .description('OAuth 2.1 and OpenID Connect authorization server')
    .option('--json', 'print one JSON value, and nothing else')
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: (text, write) => write(`${oneLine(text)}\n`) });
  addServeCommand(program);
  addMigrateCommands(program);
  addDoctorCommand(program);
  addClientCommands(program);
  addApiCommands(program);
  addUserCommands(program);
  addKeyCommands(program);
  addApiKeyCommands(program);
  addTokenCommands(program);
  addAuditCommands(program);
  return program;
}
