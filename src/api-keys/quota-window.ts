/** The window of a quota; of a key without one it has no length. */
export type QuotaWindow = Readonly<{ windowSeconds: number /** Epoch seconds. */; startsAt: number }>;

/** The window that a moment lies in. @param now epoch milliseconds */
export function quotaWindowAt(windowSeconds: number | undefined, now: number): QuotaWindow {
  if (windowSeconds === undefined) return { windowSeconds: 0, startsAt: 0 };
  return { windowSeconds, startsAt: Math.floor(now / 1_000 / windowSeconds) * windowSeconds };
}

export function isSameWindow(one: QuotaWindow, other: QuotaWindow): boolean {
  return one.windowSeconds === other.windowSeconds && one.startsAt === other.startsAt;
}
