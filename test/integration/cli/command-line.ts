import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { composeDomains, type Domains, openEnvironmentDatabase } from '../../../src/compose/index.ts';
import { loadConfig } from '../../../src/config/index.ts';
import { NODE_COMPILE_CACHE } from '../../harness/compile-cache.ts';
import { openTestDatabase } from '../../harness/database.ts';
import { silentLogger } from '../../harness/loggers.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

type Outcome = { exitCode: number | null; stdout: string; stderr: string };

/** The real command in a process of its own, in nothing but the given environment. */
export type CommandLine = Readonly<{
  run(args: readonly string[], options?: { input?: string; environment?: Record<string, string> }): Promise<Outcome>;
  /** Runs with `--json`, expects it to go well and to print one value and nothing else. */
  json(args: readonly string[], input?: string): Promise<Record<string, unknown>>;
  /** Reads the lines of a command that does not end by itself; ends it as an operator would. */
  follow<T>(
    args: readonly string[],
    read: (next: () => Promise<string>) => Promise<T>,
  ): Promise<{ value: T; exitCode: number | null }>;
}>;

export function createCommandLine(environment: Record<string, string>): CommandLine {
  const start = (args: readonly string[], more: Record<string, string> = {}) => {
    const child = spawn(process.execPath, ['src/cli/tessera.ts', ...args], {
      cwd: ROOT,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, NODE_COMPILE_CACHE, ...environment, ...more },
    });
    return { child, ended: new Promise<number | null>((resolve) => child.once('close', resolve)) };
  };
  const run: CommandLine['run'] = async (args, options = {}) => {
    const { child, ended } = start(args, options.environment);
    child.stdin.end(options.input ?? '');
    const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
    return { exitCode, stdout, stderr };
  };
  return {
    run,
    async json(args, input) {
      const { exitCode, stdout, stderr } = await run([...args, '--json'], input === undefined ? {} : { input });
      if (exitCode !== 0 || stderr !== '')
        throw new Error(`tessera ${args.join(' ')} ended with ${exitCode}: ${stderr}`);
      return JSON.parse(stdout) as Record<string, unknown>;
    },
    async follow(args, read) {
      const { child, ended } = start(args);
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      try {
        const value = await read(async () => String((await lines.next()).value));
        child.kill('SIGTERM');
        return { value, exitCode: await ended };
      } finally {
        child.kill('SIGKILL');
      }
    },
  };
}

/** A database of its own, the command line on it, and the domains as a server beside it has them. */
export async function openShared(): Promise<
  CommandLine & { domains: Domains; environment: Record<string, string>; close(): Promise<void> }
> {
  const test = await openTestDatabase();
  const environment = {
    NODE_ENV: 'test',
    DATABASE_URL: test.url,
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64url'),
  };
  const config = loadConfig(environment);
  const opened = await openEnvironmentDatabase(config, silentLogger);
  const domains = await composeDomains(config, { logger: silentLogger, opened, actor: { kind: 'system' } });
  await domains.changes.start();
  return {
    ...createCommandLine(environment),
    domains,
    environment,
    async close() {
      await domains.close();
      await test.close();
    },
  };
}
