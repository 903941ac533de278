import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createPrivateFile, readPlainFile } from '../private-files.ts';
import { errorCode } from './embedded-fault.ts';
import { isRunning, type ProcessIdentity } from './process-identity.ts';

/** Where the keeper of a data directory listens on 127.0.0.1, and the secret that shows that a caller may read the folder. */
export type KeeperAddress = Readonly<{ keeper: ProcessIdentity; port: number; token: string }>;

/** File systems without hard links write in place; a half-written claim younger than this counts as a live one. */
const HALF_WRITTEN_MS = 2_000;

/*
 * At most one keeper per data directory. A claim is a file `<generation>.json`; the highest generation holds as long as
 * its process runs. A dead claim is never removed to be taken again (two processes that both found it dead would then
 * remove each other's): it is outbid by creating the next generation, which succeeds for one process alone. The highest
 * file always stays, so the generation only grows, and one who read an old listing notices that he was outbid.
 */

/** The keeper that runs now, if one does. */
export function currentKeeper(folder: string): KeeperAddress | undefined {
  const claim = readClaim(folder, highestGeneration(folder));
  return typeof claim === 'object' && isRunning(claim.keeper) ? claim : undefined;
}

/** Makes `address` the keeper of the folder; false when another one runs already. */
export function claimKeeping(folder: string, address: KeeperAddress): boolean {
  for (;;) {
    const highest = highestGeneration(folder);
    const holder = readClaim(folder, highest);
    if (holder === 'being_written' || (typeof holder === 'object' && isRunning(holder.keeper))) return false;
    const generation = highest + 1;
    if (!createPrivateFile(claimPath(folder, generation), JSON.stringify(address))) continue;
    if (highestGeneration(folder) > generation) {
      rmSync(claimPath(folder, generation), { force: true });
      continue;
    }
    for (const old of generations(folder)) if (old < generation) rmSync(claimPath(folder, old), { force: true });
    return true;
  }
}

function readClaim(folder: string, generation: number): KeeperAddress | 'being_written' | undefined {
  if (generation === 0) return undefined;
  const path = claimPath(folder, generation);
  try {
    const content = readPlainFile(path);
    if (content !== '') return JSON.parse(content);
    return Date.now() - statSync(path).mtimeMs < HALF_WRITTEN_MS ? 'being_written' : undefined;
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function highestGeneration(folder: string): number {
  return Math.max(0, ...generations(folder));
}

function generations(folder: string): number[] {
  return readdirSync(folder)
    .filter((name) => /^[1-9]\d*\.json$/.test(name))
    .map((name) => Number.parseInt(name, 10));
}

function claimPath(folder: string, generation: number): string {
  return join(folder, `${generation}.json`);
}
