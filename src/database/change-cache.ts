import type { Clock } from '../config/index.ts';

/** Answers of a look-up by id, held in the process until the change feed says that they have changed. */
export type ChangeCache<T> = Readonly<{
  get(id: string): Promise<T | undefined>;
  /** Forgets one answer, or all of them: also those that are still being looked up. */
  drop(id?: string): void;
}>;

/** While nobody can be sure to hear of changes, an answer serves for less than the second within which every node has to follow. */
const MAX_AGE_MS = 750;
/**
 * What is sure to be dropped when it changes may stay; this bounds what was changed by hand, past the rooms, and how long a
 * key that left a `jwks_uri` is still good.
 */
const MAX_TOLD_AGE_MS = 60_000;
/** About 2 KiB each. */
const MAX_PRESENT = 10_000;
/** What was used within it keeps its place: to move it costs as much as the look-up, at every request. */
const PLACE_KEPT_MS = 500;
/** Apart from the rest, so that guessing ids pushes nothing out that is there. */
const MAX_ABSENT = 10_000;

type Entry<T> = { answer: Promise<T | undefined>; askedAt: number; placedAt: number };

/**
 * Look-ups of one id at one time share one query. What fails is not remembered.
 *
 * @param options.isTold whether `drop` is sure to be called within the second for whatever changes
 */
export function createChangeCache<T>(options: {
  lookUp(id: string): Promise<T | undefined>;
  isTold(): boolean;
  clock: Clock;
}): ChangeCache<T> {
  const { lookUp, isTold, clock } = options;
  // A Map iterates in the order of insertion, and what is used is inserted anew: the first one is the one to leave.
  const present = new Map<string, Entry<T>>();
  const absent = new Map<string, Entry<T>>();
  const pending = new Map<string, Entry<T>>();

  function keep(answers: Map<string, Entry<T>>, id: string, entry: Entry<T>, limit: number): void {
    answers.delete(id);
    answers.set(id, entry);
    if (answers.size <= limit) return;
    for (const leastUsed of answers.keys()) {
      answers.delete(leastUsed);
      return;
    }
  }

  function ask(id: string): Promise<T | undefined> {
    const askedAt = clock();
    const entry = { answer: lookUp(id), askedAt, placedAt: askedAt };
    pending.set(id, entry);
    // Where it was dropped meanwhile the answer may be from before the change: those who wait get it, nobody else.
    const settle = () => pending.get(id) === entry && pending.delete(id);
    entry.answer.then((answer) => {
      if (!settle()) return;
      if (answer === undefined) keep(absent, id, entry, MAX_ABSENT);
      else keep(present, id, entry, MAX_PRESENT);
    }, settle);
    return entry.answer;
  }

  function drop(id?: string): void {
    for (const answers of [present, absent, pending]) {
      if (id === undefined) answers.clear();
      else answers.delete(id);
    }
  }

  return Object.freeze({
    get(id: string) {
      const entry = present.get(id) ?? absent.get(id) ?? pending.get(id);
      const now = clock();
      const ageMs = entry === undefined ? Number.POSITIVE_INFINITY : now - entry.askedAt;
      // Below zero: the clock was set back, and nobody knows how old the answer is.
      if (entry !== undefined && ageMs >= 0 && ageMs < (isTold() ? MAX_TOLD_AGE_MS : MAX_AGE_MS)) {
        if (now - entry.placedAt >= PLACE_KEPT_MS && present.has(id)) {
          entry.placedAt = now;
          keep(present, id, entry, MAX_PRESENT);
        }
        return entry.answer;
      }
      drop(id);
      return ask(id);
    },
    drop,
  });
}
