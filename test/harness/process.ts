/** The real program in processes of its own, as operators and developers start it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_COMPILE_CACHE } from './compile-cache.ts';
import { processesOf } from './process-table.ts';
import { until } from './until.ts';

export const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));

/** What the program consists of, besides its dependencies. */
const PROGRAM_PARTS = ['src', 'config', 'views', 'migrations', 'package.json'];

/** Below the range from which the system takes the ports of outgoing connections. */
const FIRST_PORT = 20_000;
const PORT_COUNT = 10_000;

type Ended = { exitCode: number | null; signal: NodeJS.Signals | null };

export type ServerProcess = Readonly<{
  pid: number;
  port: number;
  /** Where it listens; in development the issuer too. */
  address: string;
  /** All that it has written to standard output and standard error so far. */
  output(): string;
  /** What it has written to standard error alone, line by line. */
  faults(): string[];
  /** Resolves when it is ready. @throws with its output where it ends before */
  ready(): Promise<void>;
  signal(name: NodeJS.Signals): void;
  /** To every process that was started with it, as Ctrl-C does. */
  signalGroup(name: NodeJS.Signals): void;
  ended: Promise<Ended>;
  hasEnded(): boolean;
  /** SIGTERM, and how it ended. */
  stop(): Promise<Ended>;
  /** Ends it in whatever state it is. Its PostgreSQL follows: see `noProcessLeft`. */
  dispose(): Promise<void>;
}>;

export type ServerProcessOptions = {
  /** Absolute; its processes are known by it. */
  dataDirectory: string;
  port?: number;
  /** Settings by their names in the environment, over development on a data directory and a port of its own. */
  environment?: Record<string, string>;
  /** Another checkout. */
  checkout?: string;
  command?: readonly [string, ...string[]];
  identity?: { uid: number; gid: number };
};

/** Starts the server at the head of a process group of its own, in nothing but the given environment. */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { dataDirectory } = options;
  const port = options.port ?? (await freePort());
  const [program, ...args] = options.command ?? [process.execPath, 'src/main.ts'];
  const child = spawn(program, args, {
    ...options.identity,
    detached: true,
    cwd: options.checkout ?? CHECKOUT,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PORT: String(port),
      DATA_DIR: dataDirectory,
      ...(options.checkout === undefined && { NODE_COMPILE_CACHE }),
      // As cheap as production allows: what is tested is never how slow they are.
      ARGON2_MEMORY_KIB: '19456',
      ARGON2_PASSES: '1',
      ...options.environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const written = { all: '', faults: '' };
  child.stdout.on('data', (chunk) => {
    written.all += chunk;
  });
  child.stderr.on('data', (chunk) => {
    written.all += chunk;
    written.faults += chunk;
  });
  const ended = endOf(child);
  let end: Ended | undefined;
  void ended.then((how) => {
    end = how;
  });
  const pid = child.pid ?? 0;
  const address = `http://localhost:${port}`;

  return {
    pid,
    port,
    address,
    output: () => written.all,
    faults: () => written.faults.split('\n').filter((line) => line !== ''),
    async ready() {
      await until('the server is ready', async () => {
        if (end !== undefined) throw new Error(`the server ended with ${JSON.stringify(end)}: ${written.all}`);
        const response = await fetch(`${address}/health/ready`).catch(() => undefined);
        return response?.status === 200;
      }).catch((error: Error) => {
        throw new Error(`${error.message}\n${written.all}`);
      });
    },
    signal: (name) => void child.kill(name),
    signalGroup(name) {
      process.kill(-pid, name);
    },
    ended,
    hasEnded: () => end !== undefined,
    async stop() {
      child.kill('SIGTERM');
      return ended;
    },
    async dispose() {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // The whole group has gone already.
      }
      await ended;
    },
  };
}

/** Waits until no process works for the data directory: no server, no keeper, no PostgreSQL. */
export async function noProcessLeft(dataDirectory: string): Promise<void> {
  if (process.platform !== 'linux') return;
  await until(`no process of ${dataDirectory} is left`, () => processesFor(dataDirectory).length === 0);
}

/** Keeper and PostgreSQL, and whatever was started with DATA_DIR in its environment. */
export function processesFor(dataDirectory: string): number[] {
  const started = readdirSync('/proc').filter((name) => {
    try {
      return readFileSync(`/proc/${Number(name)}/environ`, 'utf8')
        .split('\0')
        .includes(`DATA_DIR=${dataDirectory}`);
    } catch {
      return false;
    }
  });
  return [...new Set([...processesOf(dataDirectory), ...started.map(Number)])];
}

/** A second checkout of the same program: copied sources, and the dependencies of this one. */
export function copyCheckout(target: string): string {
  mkdirSync(target, { recursive: true });
  for (const part of PROGRAM_PARTS) cpSync(join(CHECKOUT, part), join(target, part), { recursive: true });
  symlinkSync(join(CHECKOUT, 'node_modules'), join(target, 'node_modules'));
  return target;
}

/** The same with copies of the dependencies too, for a user who can't enter this checkout. @returns its Node as well */
export function copyWholeProgram(target: string): { checkout: string; node: string } {
  mkdirSync(target, { recursive: true, mode: 0o755 });
  for (const part of PROGRAM_PARTS) cpSync(join(CHECKOUT, part), join(target, part), { recursive: true });
  const lock = JSON.parse(readFileSync(join(CHECKOUT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean }>;
  };
  const installed = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && dev !== true);
  for (const [path] of installed) {
    try {
      cpSync(join(CHECKOUT, path), join(target, path), { recursive: true, verbatimSymlinks: true });
    } catch (error) {
      // An optional package of another platform.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  const node = join(target, 'node');
  cpSync(process.execPath, node);
  return { checkout: target, node };
}

/** A port on which nothing listens, neither here nor in another worker's range. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORT_COUNT);
    if ((await canListen(port, '127.0.0.1')) && !(await isListening(port))) return port;
  }
}

/** Whether a new connection is taken. */
export function isListening(port: number, host = 'localhost'): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function endOf(child: ChildProcess): Promise<Ended> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal }));
  });
}

function canListen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
}
