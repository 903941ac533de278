import { CACHED_KINDS } from './artifact-references.ts';
import type { StoredRow } from './artifact-row.ts';

/**
 * What was read serves for so long, counted from before it was read. It is the answer to every message that is lost, on a
 * connection that has fallen silent as well: whoever is answered from here is answered by what was true less than a second
 * ago, with three tenths of it left for a busy machine and the way to the caller.
 */
export const MAX_AGE_MS = 700;
/**
 * Keys that are remembered as dropped while one look is under way; beyond it, what the look finds is not remembered. A
 * healthy node ends fewer in that time, and anybody who may connect to the database may send such messages.
 */
const MAX_DROPPED = 5_000;

/**
 * Living tokens, grants and sessions as they were read, for the verification of tokens and nothing else. Tokens and grants
 * go by their digest (hex), sessions by their `uid`; no value that anyone could present is in it.
 */
export type ArtifactCache = Readonly<{
  /** The first of `keys` that is held: one hit or one miss, however many keys. */
  find(keys: readonly string[]): StoredRow | undefined;
  /** Remembers what `load` finds, but for what is dropped before it has. */
  read(load: () => Promise<ReadonlyMap<string, StoredRow>>): Promise<ReadonlyMap<string, StoredRow>>;
  /** Forgets these, or everything. */
  drop(keys: readonly string[] | undefined): void;
  /** Since the start. */
  counts(): { hits: number; misses: number };
}>;

/** A look at the database that is under way, and what was dropped since it began; undefined: it is not to be remembered. */
type Reading = { dropped: Set<string> | undefined };

/**
 * @param options.size entries at the most; the one that was not used for longest leaves; 0: nothing is held
 * @param options.isHeard whether other processes are heard when they drop something; nothing is held meanwhile where not
 * @param options.now milliseconds on a clock that nobody sets (`performance.now`)
 */
export function createArtifactCache(options: { size: number; isHeard(): boolean; now(): number }): ArtifactCache {
  const { size, isHeard, now } = options;
  // A Map iterates in the order of insertion, and what is used is inserted anew: the first one is the one to leave.
  const entries = new Map<string, { row: StoredRow; readAt: number }>();
  const readings = new Set<Reading>();
  let hits = 0;
  let misses = 0;

  function live(key: string): StoredRow | undefined {
    const entry = entries.get(key);
    if (entry === undefined) return undefined;
    entries.delete(key);
    if (now() - entry.readAt >= MAX_AGE_MS) return undefined;
    entries.set(key, entry);
    return entry.row;
  }

  function remember(key: string, row: StoredRow, readAt: number): void {
    entries.delete(key);
    entries.set(key, { row, readAt });
    if (entries.size <= size) return;
    for (const leastUsed of entries.keys()) {
      entries.delete(leastUsed);
      return;
    }
  }

  return Object.freeze({
    find(keys: readonly string[]) {
      if (size === 0 || !isHeard()) return undefined;
      for (const key of keys) {
        const row = live(key);
        if (row === undefined) continue;
        hits += 1;
        return row;
      }
      misses += 1;
      return undefined;
    },
    async read(load: () => Promise<ReadonlyMap<string, StoredRow>>) {
      if (size === 0 || !isHeard()) return load();
      const reading: Reading = { dropped: new Set() };
      const readAt = now();
      readings.add(reading);
      try {
        const rows = await load();
        const { dropped } = reading;
        if (dropped === undefined) return rows;
        for (const [key, row] of rows) {
          if (CACHED_KINDS.includes(row.kind) && !dropped.has(key)) remember(key, row, readAt);
        }
        return rows;
      } finally {
        readings.delete(reading);
      }
    },
    drop(keys: readonly string[] | undefined) {
      if (keys === undefined) {
        entries.clear();
        for (const reading of readings) reading.dropped = undefined;
        return;
      }
      for (const key of keys) {
        entries.delete(key);
        for (const reading of readings) {
          if (reading.dropped !== undefined && reading.dropped.size < MAX_DROPPED) reading.dropped.add(key);
          else reading.dropped = undefined;
        }
      }
    },
    counts: () => ({ hits, misses }),
  });
}
