/** Examples as a reader runs them: installed from their own lock files, in a folder of their own, as processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { CHECKOUT, freePort } from '../harness/process.ts';
import { until } from '../harness/until.ts';

type Command = readonly [program: string, ...args: string[]];

export type Example = Readonly<{
  /** Its folder below examples/. */
  name: string;
  /** What is to be done once, in this order, in a copy of the folder. */
  install: readonly Command[];
  /** Starts it in that copy; it listens on `PORT`. A program with a slash in its name is one of the copy. */
  command: Command;
}>;

/** One that wants nothing but Node and npm. */
export function nodeExample(name: string): Example {
  return { name, install: [['npm', 'ci', '--no-audit', '--no-fund']], command: [process.execPath, 'server.js'] };
}

export type RunningProgram = Readonly<{
  /** Where it is called. */
  address: string;
  /** All that it has written so far. */
  output(): string;
  stop(): Promise<void>;
}>;

export type InstalledExample = Readonly<{
  folder: string;
  /**
   * Starts it, and resolves when it answers HTTP in whatever way.
   *
   * @param settings of its environment, besides `PORT`, which is a free one unless named here
   * @param command another one than the example's own, where it has several programs
   * @throws with its output where it ends before
   */
  start(settings: Record<string, string>, command?: Command): Promise<RunningProgram>;
  /** Stops what runs, and deletes the copy. */
  remove(): Promise<void>;
}>;

/** What builds and installations leave behind, and no reader of the repository has. */
const LEFT_BEHIND = new Set(['node_modules', '.venv', '__pycache__', 'target']);

/** Which files of an example are copied. */
export function withoutBuilds(path: string): boolean {
  return !LEFT_BEHIND.has(basename(path));
}

/** A Java program on a busy machine. */
const START_LIMIT_MS = 120_000;

/** That of whoever runs the tests: package managers find registries, proxies and certificates in it. */
export function readersEnvironment(): Record<string, string> {
  // Jest's own, and npm's where it runs Jest: none of them is about the example.
  const alien = new Set(['NODE_ENV', 'NODE_OPTIONS', 'npm_config_local_prefix']);
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value === undefined || alien.has(name) ? [] : [[name, value]],
    ),
  );
}

/** Copies the example into a temporary folder and installs it there. @throws with the output of a command that fails */
export async function installExample(example: Example): Promise<InstalledExample> {
  const base = mkdtempSync(join(tmpdir(), 'tessera-example-'));
  const folder = join(base, example.name);
  const running = new Set<ChildProcess>();
  cpSync(join(CHECKOUT, 'examples', example.name), folder, {
    recursive: true,
    filter: withoutBuilds,
  });
  try {
    for (const command of example.install) await run(command, folder);
  } catch (error) {
    rmSync(base, { recursive: true, force: true });
    throw error;
  }

  async function start(settings: Record<string, string>, command = example.command): Promise<RunningProgram> {
    const port = settings.PORT ?? String(await freePort());
    const child = launch(command, folder, { ...settings, PORT: port });
    running.add(child);
    const output = outputOf(child);
    const ended = endOf(child).finally(() => running.delete(child));
    let end: string | undefined;
    void ended.then((how) => {
      end = how;
    });
    const address = `http://127.0.0.1:${port}`;
    await until(
      `examples/${example.name} answers`,
      async () => {
        if (end !== undefined) throw new Error(`it ended with ${end}`);
        const response = await fetch(address).catch(() => undefined);
        return response !== undefined;
      },
      START_LIMIT_MS,
    ).catch((error: Error) => {
      killGroup(child);
      throw new Error(`examples/${example.name}: ${error.message}\n${output()}`);
    });
    return {
      address,
      output,
      async stop() {
        killGroup(child);
        await ended;
      },
    };
  }

  return {
    folder,
    start,
    async remove() {
      for (const child of running) killGroup(child);
      await until('every program has ended', () => running.size === 0);
      rmSync(base, { recursive: true, force: true });
    },
  };
}

async function run(command: Command, folder: string): Promise<void> {
  const child = launch(command, folder, {});
  const output = outputOf(child);
  const end = await endOf(child);
  if (end !== '0') throw new Error(`${command.join(' ')} in ${folder} ended with ${end}:\n${output()}`);
}

/** At the head of a process group, so that what it starts ends with it. */
function launch([program, ...args]: Command, folder: string, settings: Record<string, string>): ChildProcess {
  return spawn(program, args, {
    cwd: folder,
    env: { ...readersEnvironment(), ...settings },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function outputOf(child: ChildProcess): () => string {
  let written = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      written += chunk;
    });
  }
  return () => written;
}

/** @returns the exit code or the signal */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (exitCode, signal) => resolve(String(exitCode ?? signal)));
  });
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has gone already.
  }
}
