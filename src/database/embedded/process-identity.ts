import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { errorCode } from './embedded-fault.ts';

/** A process and when it started, so that a process id that was given out again is not taken for the first. */
export type ProcessIdentity = Readonly<{ pid: number; startedAt: string }>;

/** The process that has this id now; undefined where there is none, or only a zombie that nobody has reaped. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const startedAt = startOf(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** True as long as that very process runs. */
export function isRunning(process: ProcessIdentity): boolean {
  return startOf(process.pid) === process.startedAt;
}

/** The command line of a process; undefined where it has gone or the system doesn't tell. */
export function commandOf(pid: number): string | undefined {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return process.platform === 'win32' ? undefined : ps(pid, 'command=');
  } catch {
    return undefined;
  }
}

function startOf(pid: number): string | undefined {
  try {
    if (process.platform === 'linux') return linuxStartOf(pid);
    process.kill(pid, 0);
    return process.platform === 'win32' ? 'unknown' : ps(pid, 'lstart=') || undefined;
  } catch (error) {
    // The process exists but belongs to someone else; its start is not known.
    return errorCode(error) === 'EPERM' ? 'unknown' : undefined;
  }
}

function linuxStartOf(pid: number): string | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // proc_pid_stat(5): the name is in parentheses and may hold anything; state is field 3, start time field 22.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return `${bootId()}:${fields[19]}`;
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'boot';
  }
}

function ps(pid: number, column: string): string {
  return execFileSync('/bin/ps', ['-ww', '-o', column, '-p', String(pid)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { LC_ALL: 'C', TZ: 'UTC' },
  }).trim();
}
