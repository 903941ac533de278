import { closeSync, constants, ftruncateSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openPlainFile, readPlainFile } from '../private-files.ts';
import { errorCode } from './embedded-fault.ts';
import { commandOf, identifyProcess, type ProcessIdentity } from './process-identity.ts';

/** The main process of PostgreSQL as it describes itself in `postmaster.pid`. */
export type PostmasterFile = Readonly<{ pid: number; port: number; isReady: boolean }>;

/** No system gives out this process id (Linux ends at 4194304), yet PostgreSQL reads it as one. */
const NOBODYS_PID = 2_147_483_646;

/** Reads `postmaster.pid`; undefined where there is none or it isn't complete yet. */
export function readPostmasterFile(cluster: string): PostmasterFile | undefined {
  const lines = readLines(cluster);
  // PostgreSQL's miscadmin.h: line 1 is the process id, 4 the port, 8 the status.
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  if (!Number.isInteger(pid) || !Number.isInteger(port) || lines.length < 8) return undefined;
  return { pid, port, isReady: lines[7]?.trim() === 'ready' };
}

/** The PostgreSQL that runs on this cluster (its real path) now, if one does. */
export function runningPostmaster(cluster: string): ProcessIdentity | undefined {
  const pid = Number(readLines(cluster)[0]);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  const found = identifyProcess(pid);
  return found !== undefined && servesCluster(pid, cluster) ? found : undefined;
}

/**
 * Lets PostgreSQL start where `postmaster.pid` names a process id that someone else has by now (after a crash in a
 * container it is often the same number). The file stays, because PostgreSQL also learns from it whether processes of
 * the last run still use the shared memory: only the number is replaced. Call when `runningPostmaster` found nothing.
 * Read and written by one descriptor: the cluster's owner could put another file in its place in between.
 *
 * @throws AppError where it is no plain file
 */
export function disownPostmasterFile(cluster: string): void {
  let file: number;
  try {
    file = openPlainFile(pathIn(cluster), constants.O_RDWR);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    const [first, ...rest] = readFileSync(file, 'utf8').split('\n');
    const pid = Number(first);
    if (!Number.isInteger(pid) || pid <= 0 || !isGivenOut(pid)) return;
    const content = [NOBODYS_PID, ...rest].join('\n');
    ftruncateSync(file);
    writeSync(file, content, 0);
  } finally {
    closeSync(file);
  }
}

/** As PostgreSQL sees it: a zombie that nobody reaps counts as well. */
function isGivenOut(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}

function servesCluster(pid: number, cluster: string): boolean {
  const command = commandOf(pid);
  return command === undefined || command.includes(` -D ${cluster} `);
}

function readLines(cluster: string): string[] {
  try {
    return readPlainFile(pathIn(cluster)).split('\n');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function pathIn(cluster: string): string {
  return join(cluster, 'postmaster.pid');
}
