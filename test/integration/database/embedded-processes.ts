/** What the tests of the embedded database share: processes that use it, and which ones keep it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { openEmbeddedDatabase } from '../../../src/database/embedded/index.ts';
import { NODE_COMPILE_CACHE } from '../../harness/compile-cache.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

const userProgram = fileURLToPath(new URL('./embedded-user.ts', import.meta.url));

/** A data directory with a cluster in it, of which copies are made: faster than a cluster of its own for each test. */
export async function clusterTemplate(): Promise<{ copyTo(dataDirectory: string): void; remove(): void }> {
  const made = freshFolder();
  await openEmbeddedDatabase({ dataDirectory: made.path, logger: silentLogger }).then((database) => database.close());
  return {
    copyTo(dataDirectory) {
      // Owner and mode are part of a cluster, and Node's own copy leaves out the owner, which Windows does without.
      if (process.platform === 'win32') cpSync(made.path, dataDirectory, { recursive: true });
      else execFileSync('cp', ['-a', `${made.path}/.`, dataDirectory]);
    },
    remove: made.remove,
  };
}

export type UserProcess = Readonly<{
  pid: number;
  child: ChildProcess;
  said: Record<string, string>[];
  /** The value that the process prints under that name. */
  hears(name: string): Promise<string>;
  ended: Promise<void>;
  close(): Promise<void>;
}>;

/** Opens the database in a process of its own, at the head of its own process group. */
export function startUser(dataDirectory: string, identity: { uid?: number; gid?: number } = {}): UserProcess {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', userProgram], {
    ...identity,
    detached: true,
    cwd: '/',
    env: { DATA_DIR: dataDirectory, ...(identity.uid === undefined && { NODE_COMPILE_CACHE }) },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const said: Record<string, string>[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => said.push(JSON.parse(line)));
  let hasEnded = false;
  const ended = new Promise<void>((resolve) =>
    child.on('close', () => {
      hasEnded = true;
      resolve();
    }),
  );
  const hears = (name: string) =>
    until(`a user says ${name}`, () => {
      const fault = said.find((message) => message.fault !== undefined)?.fault;
      if (fault !== undefined && name !== 'fault') throw new Error(fault);
      const heard = said.find((message) => message[name] !== undefined)?.[name];
      if (heard === undefined && hasEnded)
        throw new Error(`a user ended (${child.signalCode ?? child.exitCode}) without saying ${name}`);
      return heard;
    });
  return {
    pid: child.pid ?? 0,
    child,
    said,
    hears,
    ended,
    async close() {
      child.stdin.write('close\n');
      await hears('closed');
      await ended;
    },
  };
}

export function keeperPid(dataDirectory: string): number {
  const folder = join(dataDirectory, 'postgres-keeper');
  // Beside a claim may lie one that is being written, under a longer name.
  const claims = readdirSync(folder).filter((name) => /^\d+\.json$/.test(name));
  const newest = Math.max(...claims.map((name) => Number.parseInt(name, 10)));
  return JSON.parse(readFileSync(join(folder, `${newest}.json`), 'utf8')).keeper.pid;
}

export function postmasterPid(cluster: string): number {
  return Number(readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')[0]);
}
