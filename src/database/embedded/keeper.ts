import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openPrivateLog } from '../private-files.ts';
import { folderFault } from './embedded-fault.ts';
import { claimKeeping } from './keeper-lock.ts';
import { onUserMessage, send } from './keeper-protocol.ts';
import { openCluster } from './open-cluster.ts';
import type { Postmaster } from './postmaster.ts';
import { identifyProcess } from './process-identity.ts';

/*
 * The keeper is a process of its own, in a session of its own. It runs PostgreSQL as long as anybody uses it:
 *
 *     node keeper.ts <DATA_DIR> <log file>
 *
 * It ends when the last user has left, when another keeper was first, or after it has told its users of a fault.
 */

/** How long a keeper that nobody has joined waits for whoever launched it. */
const FIRST_USER_MS = 3_000;
/** How long PostgreSQL outlives a last user that vanished without a word. */
const LAST_USER_LOST_MS = 300;
/** A caller that hasn't shown the token by then is cut off. */
const JOIN_TIMEOUT_MS = 2_000;
/** Pauses between attempts to start PostgreSQL again under its users; the last one repeats. */
const RESTART_PAUSES_MS = [0, 100, 250, 500, 1_000, 2_000, 5_000];

const [dataDirectory = '', logPath = ''] = process.argv.slice(2);
const token = randomBytes(32);
const users = new Set<Socket>();
const notices: string[] = [];
const server = createServer(admit);
let phase: 'starting' | 'ready' | 'faulty' | 'stopping' = 'starting';
let fault = '';
let postmaster: Postmaster | undefined;

async function main(): Promise<void> {
  // Ctrl-C and `kill` are meant for the users: PostgreSQL goes when they have gone.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stopIfUnused);
  const port = await listen();
  const keeper = identifyProcess(process.pid);
  if (keeper === undefined) throw new Error('this process is missing in the process table');
  const folder = join(dataDirectory, 'postgres-keeper');
  if (!claimKeeping(folder, { keeper, port, token: token.toString('hex') })) process.exit(0);
  setTimeout(stopIfUnused, FIRST_USER_MS);
  try {
    await keepRunning();
    process.exit(0);
  } catch (error) {
    phase = 'faulty';
    fault = folderFault(dataDirectory, error).message;
    log(fault);
    for (const user of users) greet(user);
  }
}

/** Starts PostgreSQL, and again whenever it dies by itself; resolves once it was stopped. */
async function keepRunning(): Promise<void> {
  const logFile = openPrivateLog(logPath);
  for (let isRestart = false; !isStopping(); isRestart = true) {
    postmaster = isRestart ? await restart(logFile) : await open(logFile, false);
    if (isStopping()) return postmaster?.stop();
    phase = 'ready';
    for (const user of users) greet(user);
    await postmaster?.ended;
    postmaster = undefined;
    if (isStopping()) return;
    phase = 'starting';
    log('PostgreSQL ended by itself and is started again');
  }
}

function open(logFile: number, isRestart: boolean): Promise<Postmaster> {
  return openCluster({ dataDirectory, log: logFile, isRestart, notice: (message) => notices.push(message) });
}

/** Users hold the URL, so that only the same port will do, however long it takes. */
async function restart(logFile: number): Promise<Postmaster | undefined> {
  for (let attempt = 0; ; attempt++) {
    await delay(RESTART_PAUSES_MS[attempt] ?? RESTART_PAUSES_MS.at(-1));
    if (isStopping()) return undefined;
    try {
      return await open(logFile, true);
    } catch (error) {
      log(error instanceof Error ? error.message : String(error));
    }
  }
}

function admit(caller: Socket): void {
  caller.setTimeout(JOIN_TIMEOUT_MS, () => caller.destroy());
  caller.on('error', () => caller.destroy());
  caller.on('close', () => {
    if (users.delete(caller)) setTimeout(stopIfUnused, phase === 'faulty' ? 0 : LAST_USER_LOST_MS);
  });
  onUserMessage(caller, (message) => {
    if (message.say === 'join' && isToken(message.token) && !isStopping()) welcome(caller);
    else if (message.say === 'leave' && users.has(caller)) leave(caller);
    else caller.destroy();
  });
}

function isToken(candidate: string): boolean {
  const bytes = Buffer.from(candidate, 'hex');
  return bytes.length === token.length && timingSafeEqual(bytes, token);
}

function welcome(user: Socket): void {
  user.setTimeout(0);
  users.add(user);
  greet(user);
}

/** Tells a user how things stand; while PostgreSQL starts, nothing. */
function greet(user: Socket): void {
  if (phase === 'faulty') send(user, { say: 'fault', message: fault });
  if (phase !== 'ready') return;
  for (const message of notices) send(user, { say: 'notice', message });
  send(user, { say: 'ready' });
}

function leave(user: Socket): void {
  users.delete(user);
  send(user, { say: users.size === 0 ? 'stopping' : 'staying' });
  stopIfUnused();
}

/** From here on nobody is admitted; `keepRunning` returns once PostgreSQL has gone. */
function stopIfUnused(): void {
  if (users.size > 0 || isStopping()) return;
  if (phase === 'faulty') process.exit(1);
  phase = 'stopping';
  server.close();
  void postmaster?.stop();
}

/** A function, because the phase changes while a caller awaits something, which the type checker can't see. */
function isStopping(): boolean {
  return phase === 'stopping';
}

function listen(): Promise<number> {
  return new Promise((resolve, reject) => {
    server.on('error', reject).listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (typeof address === 'object' && address !== null) resolve(address.port);
    });
  });
}

function log(message: string): void {
  process.stderr.write(`${new Date().toISOString()} keeper ${process.pid}: ${message}\n`);
}

await main();
