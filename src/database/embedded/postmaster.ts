import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { fstatSync, readSync, realpathSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Binaries } from './binaries.ts';
import type { ClusterOwner } from './cluster-owner.ts';
import { POSTGRES_ENVIRONMENT } from './create-cluster.ts';
import { cannotRunFault, embeddedFault, outputFault } from './embedded-fault.ts';
import { disownPostmasterFile, readPostmasterFile, runningPostmaster } from './postmaster-file.ts';
import { isRunning } from './process-identity.ts';

/** A PostgreSQL that accepts connections. */
export type Postmaster = Readonly<{
  port: number;
  /** Resolves when its main process has ended, for whatever reason. */
  ended: Promise<void>;
  /** Fast shutdown: ends sessions, writes a checkpoint. Resolves when the main process has gone. */
  stop(): Promise<void>;
}>;

export type PostmasterOptions = Readonly<{
  binaries: Binaries;
  cluster: string;
  owner: ClusterOwner | undefined;
  /** Taken when it is free. */
  preferredPort: number | undefined;
  /** True when clients hold the preferred port's URL already, so that no other port will do. */
  mustKeepPort: boolean;
  /** File descriptor of the log, open for reading. */
  log: number;
}>;

/** Recovery after a crash replays at most `max_wal_size`; what takes longer than this hangs. */
const START_TIMEOUT_MS = 120_000;
/** The checkpoint of a fast shutdown on a slow disk; afterwards an immediate shutdown, which costs a recovery. */
const STOP_TIMEOUT_MS = 30_000;
/** Processes of a PostgreSQL that was killed notice it and end within moments. */
const RELEASE_TIMEOUT_MS = 15_000;
const POLL_MS = 10;
const PORT_ATTEMPTS = 8;

/** TCP on the loopback alone: a Unix socket's path must stay below 108 bytes, which a deep DATA_DIR doesn't. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '128MB',
  max_wal_size: '512MB',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  max_logical_replication_workers: '0',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_checkpoints: 'off',
  // The program reports its own failed statements; here they would only repeat what people typed.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
} satisfies Record<string, string>;

/**
 * Starts PostgreSQL on the cluster, or adopts one that still runs on it because its keeper was killed. Where another
 * program has the port, the next free one is taken.
 *
 * @throws AppError with PostgreSQL's own words when it doesn't start
 */
export async function startPostmaster(given: PostmasterOptions): Promise<Postmaster> {
  // The real path, so that whoever comes by another one knows an orphan by its command line.
  const options = { ...given, cluster: realpathSync(given.cluster) };
  const deadline = Date.now() + RELEASE_TIMEOUT_MS;
  let port = options.preferredPort ?? (await freePort());
  for (let portAttempt = 1; ; ) {
    const started = (await adoptPostmaster(options.cluster)) ?? (await launch(options, port));
    if (typeof started === 'object') return started;
    if (started === 'cluster_in_use') {
      if (Date.now() > deadline) throw embeddedFault(`an earlier PostgreSQL still uses ${options.cluster}`);
      await delay(POLL_MS * 5);
      continue;
    }
    if (options.mustKeepPort || portAttempt++ === PORT_ATTEMPTS) {
      throw embeddedFault(`port ${port} on 127.0.0.1 is taken`);
    }
    port = await freePort();
  }
}

async function adoptPostmaster(cluster: string): Promise<Postmaster | undefined> {
  const orphan = runningPostmaster(cluster);
  if (orphan === undefined) {
    disownPostmasterFile(cluster);
    return undefined;
  }
  const ended = (async () => {
    while (isRunning(orphan)) await delay(POLL_MS * 5);
  })();
  const file = await untilReady(cluster, orphan.pid, ended);
  if (file === undefined) return adoptPostmaster(cluster);
  return { port: file.port, ended, stop: () => stop(orphan.pid, ended) };
}

async function launch(options: PostmasterOptions, port: number): Promise<Postmaster | 'port_taken' | 'cluster_in_use'> {
  const { binaries, cluster, owner, log } = options;
  const logStart = fstatSync(log).size;
  const settings = Object.entries({ ...SETTINGS, port: String(port) }).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ]);
  const child = spawn(binaries.postgres, ['-D', cluster, ...settings], {
    ...owner,
    cwd: cluster,
    env: POSTGRES_ENVIRONMENT,
    stdio: ['ignore', log, log],
    windowsHide: true,
  });
  const { pid } = child;
  const ended = endOf(child);
  if (pid === undefined) throw cannotRunFault(binaries.postgres, await failureOf(child));
  const file = await untilReady(cluster, pid, ended);
  if (file !== undefined) return { port, ended, stop: () => stop(pid, ended, binaries) };
  const output = readFrom(log, logStart);
  if (/could not bind|could not create any TCP\/IP sockets/i.test(output)) return 'port_taken';
  if (/pre-existing shared memory block|lock file ".*" already exists/i.test(output)) return 'cluster_in_use';
  throw outputFault('PostgreSQL did not start', output, cluster);
}

/** What `postmaster.pid` says once that process accepts connections; undefined when it ended before. */
async function untilReady(cluster: string, pid: number, ended: Promise<void>) {
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
  });
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!hasEnded) {
    const file = readPostmasterFile(cluster);
    if (file?.pid === pid && file.isReady) return file;
    if (Date.now() > deadline) {
      await stop(pid, ended);
      throw embeddedFault(`PostgreSQL accepted no connection within ${START_TIMEOUT_MS / 1000} s`);
    }
    await delay(POLL_MS);
  }
  return undefined;
}

async function stop(pid: number, ended: Promise<void>, binaries?: Binaries): Promise<void> {
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    signalPostmaster(pid, signal, binaries);
    const timer = new AbortController();
    const isOver = await Promise.race([
      ended.then(() => true),
      delay(STOP_TIMEOUT_MS, false, { signal: timer.signal }).catch(() => true),
    ]);
    timer.abort();
    if (isOver) return;
  }
}

/** PostgreSQL on Windows takes its signals through a pipe that only pg_ctl knows. */
function signalPostmaster(pid: number, signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL', binaries: Binaries | undefined): void {
  try {
    if (process.platform !== 'win32' || binaries === undefined) process.kill(pid, signal);
    else execFileSync(binaries.pgCtl, ['kill', signal.slice('SIG'.length), String(pid)], { stdio: 'ignore' });
  } catch {
    // It has ended meanwhile, which `ended` tells.
  }
}

function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.on('exit', () => resolve()).on('error', () => resolve());
  });
}

function failureOf(child: ChildProcess): Promise<Error> {
  return new Promise((resolve) => child.on('error', resolve));
}

function readFrom(log: number, start: number): string {
  const content = Buffer.alloc(Math.min(65_536, Math.max(0, fstatSync(log).size - start)));
  readSync(log, content, 0, content.length, start);
  return content.toString('utf8');
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject).listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() =>
        typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}
