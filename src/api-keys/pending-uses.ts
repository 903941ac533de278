import type { ApiKeyIncrements } from './api-key-counts-store.ts';
import type { ApiKeyUse } from './api-key-use.ts';
import { toDay } from './day.ts';
import { isSameWindow, type QuotaWindow } from './quota-window.ts';

/** Uses that were allowed and are not written yet, added up per key. */
export type PendingUses = Readonly<{
  /** @param use.at epoch milliseconds */
  add(id: string, window: QuotaWindow, use: ApiKeyUse & { at: number }): void;
  /** Takes over what could not be written. */
  addAll(other: PendingUses): void;
  /** Within that window of the key's quota. */
  usedIn(id: string, window: QuotaWindow): number;
  /** The keys that have waited longest, at most `limit`. */
  first(limit: number): ApiKeyIncrements[];
  remove(id: string): void;
  /** How many keys. */
  size(): number;
}>;

type Uses = {
  window: QuotaWindow;
  used: number;
  lastUsedAt: number;
  lastUsedFrom: string | undefined;
  /** By day and API. */
  days: Map<string, { api: string | undefined; day: string; requests: number }>;
};

export function createPendingUses(): PendingUses {
  const byKey = new Map<string, Uses>();

  function merge(id: string, more: ApiKeyIncrements | Omit<ApiKeyIncrements, 'id'>): void {
    const before = byKey.get(id);
    if (before === undefined) {
      const days = new Map(more.days.map((day) => [dayKey(day), { ...day, api: day.api }]));
      byKey.set(id, { ...more, days });
      return;
    }
    if (isSameWindow(before.window, more.window)) before.used += more.used;
    else if (more.lastUsedAt >= before.lastUsedAt) {
      // What was used in a window that is over limits nobody any more; the counts of its day stay.
      before.window = more.window;
      before.used = more.used;
    }
    if (more.lastUsedAt >= before.lastUsedAt) {
      before.lastUsedAt = more.lastUsedAt;
      before.lastUsedFrom = more.lastUsedFrom;
    }
    for (const day of more.days) {
      const counted = before.days.get(dayKey(day));
      if (counted === undefined) before.days.set(dayKey(day), { ...day, api: day.api });
      else counted.requests += day.requests;
    }
  }

  return Object.freeze<PendingUses>({
    add(id, window, { api, address, at }) {
      const day = toDay(at);
      const uses = byKey.get(id);
      const counted = uses?.days.get(dayKey({ api, day }));
      // The way of nearly every use: nothing is made for it.
      if (uses !== undefined && counted !== undefined && isSameWindow(uses.window, window)) {
        uses.used += 1;
        uses.lastUsedAt = at;
        uses.lastUsedFrom = address;
        counted.requests += 1;
        return;
      }
      merge(id, { window, used: 1, lastUsedAt: at, lastUsedFrom: address, days: [{ api, day, requests: 1 }] });
    },
    addAll(other) {
      for (const uses of other.first(other.size())) merge(uses.id, uses);
    },
    usedIn(id, window) {
      const uses = byKey.get(id);
      return uses !== undefined && isSameWindow(uses.window, window) ? uses.used : 0;
    },
    first(limit) {
      const found: ApiKeyIncrements[] = [];
      for (const [id, uses] of byKey) {
        if (found.length === limit) break;
        found.push({ ...uses, id, days: [...uses.days.values()] });
      }
      return found;
    },
    remove: (id) => void byKey.delete(id),
    size: () => byKey.size,
  });
}

function dayKey({ day, api }: { day: string; api?: string | undefined }): string {
  return `${day} ${api ?? ''}`;
}
