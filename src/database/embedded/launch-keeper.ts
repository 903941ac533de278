import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openPrivateLog } from '../private-files.ts';

const LOG_LIMIT_BYTES = 5_000_000;
const program = fileURLToPath(new URL('./keeper.ts', import.meta.url));

/** The log of the keeper and of PostgreSQL. */
export function logPathOf(dataDirectory: string): string {
  return join(dataDirectory, 'postgres.log');
}

/**
 * Starts a keeper in a session of its own, so that Ctrl-C and a signal to the caller's process group reach neither it nor
 * PostgreSQL. It ends at once where another is first, so that any number may be launched at the same time. The
 * environment stays here: it holds secrets, and NODE_OPTIONS meant for this process.
 */
export function launchKeeper(dataDirectory: string): ChildProcess {
  const logPath = logPathOf(dataDirectory);
  const log = openPrivateLog(logPath, LOG_LIMIT_BYTES);
  try {
    const keeper = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, dataDirectory, logPath], {
      detached: true,
      cwd: dataDirectory,
      env: {},
      stdio: ['ignore', 'ignore', log],
      windowsHide: true,
    });
    keeper.on('error', () => undefined);
    keeper.unref();
    return keeper;
  } finally {
    closeSync(log);
  }
}
