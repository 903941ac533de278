/** What the tests of the embedded database share: folders, user processes, and a look at the process table. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

const DEADLINE_MS = 45_000;
const userProgram = fileURLToPath(new URL('./embedded-user.ts', import.meta.url));

/** Why the tests that read the process table don't run here; undefined where they do. */
export const noProcessTable = process.platform === 'linux' ? undefined : 'it reads /proc, which only Linux has';
export const isRoot = process.getuid?.() === 0;

/** A fresh data directory; `remove` deletes it. Others may pass through, or root's database user couldn't reach it. */
export function freshFolder(name = 'data', parent = tmpdir()): { path: string; remove(): void } {
  const base = mkdtempSync(join(parent, 'tessera-embedded-'));
  chmodSync(base, 0o711);
  const path = join(base, name);
  mkdirSync(path, { recursive: true, mode: 0o711 });
  return { path, remove: () => rmSync(base, { recursive: true, force: true }) };
}

export async function until<T>(what: string, look: () => T | Promise<T>): Promise<NonNullable<T>> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await delay(20);
  }
}

/** One statement on a connection of its own. */
export async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
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
    env: { DATA_DIR: dataDirectory },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const said: Record<string, string>[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => said.push(JSON.parse(line)));
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const hears = (name: string) =>
    until(`a user says ${name}`, () => {
      const fault = said.find((message) => message.fault !== undefined)?.fault;
      if (fault !== undefined && name !== 'fault') throw new Error(fault);
      return said.find((message) => message[name] !== undefined)?.[name];
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

/** Processes that belong to the data directory: keeper, initdb, PostgreSQL and its helpers (which work in its folder). */
export function processesOf(dataDirectory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const isZombie = stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return (
          !isZombie && (command.includes(dataDirectory) || readlinkSync(`/proc/${pid}/cwd`).startsWith(dataDirectory))
        );
      } catch {
        return false;
      }
    });
}

export function keeperPid(dataDirectory: string): number {
  const folder = join(dataDirectory, 'postgres-keeper');
  const newest = Math.max(...readdirSync(folder).map((name) => Number.parseInt(name, 10) || 0));
  return JSON.parse(readFileSync(join(folder, `${newest}.json`), 'utf8')).keeper.pid;
}

export function postmasterPid(cluster: string): number {
  return Number(readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')[0]);
}
