import type { Clock } from '../config/index.ts';
import type { Account } from './account.ts';

/** While nobody can be sure to hear of changes, what is cached is asked again within the second in which every node has to follow. */
const MAX_AGE_MS = 750;
/** What is sure to be dropped when it changes may stay; this bounds what was changed by hand, past the domain. */
const MAX_TOLD_AGE_MS = 60_000;
/** An entry has about 1 KiB. */
const MAX_ENTRIES = 10_000;

/** Finds accounts by id for the hot paths. */
export type AccountLookup = Readonly<{
  find(id: string): Promise<Account | undefined>;
  /** Forgets one account, or all of them. What is being read right now is not remembered either. */
  drop(id?: string): void;
}>;

type Waiter = { resolve(account: Account | undefined): void; reject(error: unknown): void };

/**
 * Look-ups of one tick become one query, and its answers serve for a while. A look-up that begins after `drop` never sees
 * what was read before it.
 *
 * @param options.isTold whether `drop` is sure to be called within the second for whatever changes
 */
export function createAccountLookup(options: {
  load(ids: readonly string[]): Promise<Account[]>;
  isTold(): boolean;
  clock: Clock;
}): AccountLookup {
  const { load, isTold, clock } = options;
  const entries = new Map<string, { account: Account; readAt: number }>();
  let waiting: Map<string, Waiter[]> | undefined;
  let drops = 0;

  function remember(account: Account, readAt: number): void {
    // The first key of a Map is its oldest: the one that is of no use soonest.
    entries.delete(account.id);
    const oldest = entries.size < MAX_ENTRIES ? undefined : entries.keys().next().value;
    if (oldest !== undefined) entries.delete(oldest);
    entries.set(account.id, { account, readAt });
  }

  async function loadWaiting(): Promise<void> {
    const batch = waiting ?? new Map<string, Waiter[]>();
    waiting = undefined;
    const readAt = clock();
    const dropsBefore = drops;
    try {
      const found = new Map((await load([...batch.keys()])).map((account) => [account.id, account]));
      // An account that was changed while it was read may have been read as it was before.
      if (drops === dropsBefore) for (const account of found.values()) remember(account, readAt);
      for (const [id, waiters] of batch) for (const waiter of waiters) waiter.resolve(found.get(id));
    } catch (error) {
      for (const waiters of batch.values()) for (const waiter of waiters) waiter.reject(error);
    }
  }

  return Object.freeze({
    find(id: string) {
      const entry = entries.get(id);
      const ageMs = entry === undefined ? Number.POSITIVE_INFINITY : clock() - entry.readAt;
      const maxAgeMs = isTold() ? MAX_TOLD_AGE_MS : MAX_AGE_MS;
      if (entry !== undefined && ageMs >= 0 && ageMs < maxAgeMs) return Promise.resolve(entry.account);
      if (waiting === undefined) {
        waiting = new Map();
        setImmediate(() => void loadWaiting());
      }
      const batch = waiting;
      return new Promise<Account | undefined>((resolve, reject) => {
        batch.set(id, [...(batch.get(id) ?? []), { resolve, reject }]);
      });
    },
    drop(id?: string) {
      drops += 1;
      if (id === undefined) entries.clear();
      else entries.delete(id);
    },
  });
}
