/** One line of the result: ours over a peer's, round by round. */
export type Verdict = Readonly<{
  row: string;
  /** Median of the rounds. */
  ratio: number;
  /** The interval in which the median lies with 95 % confidence. */
  low: number;
  high: number;
  goal: number;
  /** Whether the goal is a ceiling. */
  atMost: boolean;
}>;

/** @returns the middle value; NaN of nothing */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

const RESAMPLES = 10_000;
const TAIL = 0.025;

/**
 * The percentile bootstrap (Efron 1979): medians of samples drawn with replacement, and the range of their middle 95 %.
 *
 * @param random from 0 up to 1; seeded by default, so that the same figures make the same interval
 */
export function bootstrapInterval(
  values: readonly number[],
  random: () => number = seededRandom(1),
  resamples = RESAMPLES,
): { low: number; high: number } {
  const medians = Array.from({ length: resamples }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)] as number)),
  ).sort((a, b) => a - b);
  const at = (share: number) => medians[Math.round(share * (resamples - 1))] as number;
  return { low: at(TAIL), high: at(1 - TAIL) };
}

/** @param ratios one per round */
export function judge(row: string, ratios: readonly number[], goal: { atMost: number } | { atLeast: number }): Verdict {
  const atMost = 'atMost' in goal;
  return Object.freeze({
    row,
    ratio: median(ratios),
    ...bootstrapInterval(ratios),
    goal: 'atMost' in goal ? goal.atMost : goal.atLeast,
    atMost,
  });
}

/** Whether the interval reaches the goal. Nothing measured is nothing reached. */
export function passes({ low, high, goal, atMost }: Verdict): boolean {
  return atMost ? low <= goal : high >= goal;
}

/** A small generator of even draws (mulberry32), the same for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
