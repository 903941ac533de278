import type { Clock } from '../config/index.ts';
import type { Account } from './account.ts';

/** What is cached is asked again after this, so that a lost notification keeps nobody alive for longer. */
const MAX_AGE_MS = 1_000;
/** As many people as may be active within one second; an entry has about 1 KiB. */
const MAX_ENTRIES = 10_000;

/** Finds accounts by id for the hot paths. */
export type AccountLookup = Readonly<{
  find(id: string): Promise<Account | undefined>;
  /** Forgets one account, or all of them. What is being read right now is not remembered either. */
  drop(id?: string): void;
}>;

type Waiter = { resolve(account: Account | undefined): void; reject(error: unknown): void };

/**
 * Look-ups of one tick become one query, and its answers serve for a second at most. A look-up that begins after `drop`
 * never sees what was read before it.
 */
export function createAccountLookup(options: {
  load(ids: readonly string[]): Promise<Account[]>;
  clock: Clock;
}): AccountLookup {
  const { load, clock } = options;
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
      if (entry !== undefined && ageMs >= 0 && ageMs < MAX_AGE_MS) return Promise.resolve(entry.account);
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
