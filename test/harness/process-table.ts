/** A look at the processes of this machine, and at whom the tests run as. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Why the tests that read the process table don't run here; undefined where they do. */
export const noProcessTable = process.platform === 'linux' ? undefined : 'it reads /proc, which only Linux has';
export const isRoot = process.getuid?.() === 0;

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
