import { setTimeout as delay } from 'node:timers/promises';
import {
  changeSigningKeys,
  type KeyChange,
  type KeyDependencies,
  makeSigningKey,
  readKeysAt,
} from './change-signing-keys.ts';
import { announcementSecondsLeft, describeWait, pairOf } from './key-policy.ts';
import type { SigningAlgorithm, SigningKey } from './signing-key.ts';
import type { StoredSigningKey } from './signing-key-store.ts';

/** `reason` is one line for the person who asked. */
export type KeyRefusal = Readonly<{
  ok: false;
  code: 'conflict' | 'invalid_key' | 'not_found' | 'too_early';
  reason: string;
  /** Until it would be done without `now`, where it is too early. */
  secondsLeft?: number;
}>;

type RotatedKey = Readonly<{ algorithm: SigningAlgorithm; kid: string; replacedKid: string | undefined }>;
export type Rotation = Readonly<{ ok: true; rotated: readonly RotatedKey[] }> | KeyRefusal;

/** Within it every node honours what was changed on another: by NOTIFY, else by the poll behind it. */
const LOADED_WITHIN_MS = 1_000;
/** Timers fire early, and clocks run at different speeds; it is looked at again by the database's clock. */
const TIMER_MARGIN_MS = 50;

/**
 * Lets announced keys sign, and retires those that did: all of them or none. Announces what is not announced yet. Where two
 * ask at once there is one rotation, and both get its outcome.
 *
 * @param options.algorithm absent: every one that is offered or signs
 * @param options.now announced for long enough or not; every node has loaded the key before any signs with it all the same
 */
export async function rotateSigningKeys(
  dependencies: KeyDependencies,
  options: { algorithm?: string | undefined; now?: boolean | undefined },
): Promise<Rotation> {
  const { keys, now: startedAt } = await readKeysAt(dependencies);
  const known = rotatingAlgorithms(dependencies, keys);
  const algorithms = known.filter((algorithm) => options.algorithm === undefined || options.algorithm === algorithm);
  if (algorithms.length === 0) return notOffered(String(options.algorithm), known);
  const announced = await announceMissingKeys(dependencies, algorithms);
  if (options.now === true) await untilEveryNodeHasLoaded(dependencies, algorithms);
  return changeSigningKeys(dependencies, async (change): Promise<Rotation> => {
    const steps = algorithms.map((algorithm): Step => {
      const { active, next } = pairOf(change.keys, algorithm);
      return { algorithm, active, next, isDone: (active?.activatedAt ?? startedAt) > startedAt };
    });
    const open = steps.filter(({ isDone }) => !isDone);
    const refused = options.now === true ? gone(open, change) : tooEarly(dependencies, open, { change, announced });
    if (refused !== undefined) return refused;
    for (const { next } of open) if (next !== undefined) await change.promote(next);
    const rotated = steps.flatMap(({ algorithm, active, next, isDone }): RotatedKey[] => {
      const [before, signs] = isDone ? [pairOf(keys, algorithm).active, active] : [active, next];
      return signs === undefined ? [] : [{ algorithm, kid: signs.kid, replacedKid: before?.kid }];
    });
    return { ok: true, rotated };
  });
}

/** Announces a next key for each of the algorithms that has none. @returns those for which it did */
export async function announceMissingKeys(
  dependencies: KeyDependencies,
  algorithms: readonly SigningAlgorithm[],
): Promise<SigningAlgorithm[]> {
  const { keys } = await readKeysAt(dependencies);
  const lacking = algorithms.filter((algorithm) => pairOf(keys, algorithm).next === undefined);
  if (lacking.length === 0) return [];
  const made = await Promise.all(lacking.map((algorithm) => makeSigningKey(dependencies, algorithm)));
  return changeSigningKeys(dependencies, async (change) => {
    const wanted = made.filter(({ algorithm }) => pairOf(change.keys, algorithm).next === undefined);
    for (const key of wanted) await change.add(key, 'next');
    return wanted.map(({ algorithm }) => algorithm);
  });
}

/** What is offered, and what still signs. */
export function rotatingAlgorithms(dependencies: KeyDependencies, keys: readonly SigningKey[]): SigningAlgorithm[] {
  const signing = keys.filter(({ state }) => state === 'active').map(({ algorithm }) => algorithm);
  return [...new Set([...dependencies.policy.algorithms, ...signing])];
}

export function notOffered(algorithm: string, known: readonly string[]): KeyRefusal {
  const reason = `SIGNING_ALGORITHMS does not name ${algorithm}: ${known.join(', ')} can be had`;
  return { ok: false, code: 'not_found', reason };
}

type Step = {
  algorithm: SigningAlgorithm;
  active: StoredSigningKey | undefined;
  next: StoredSigningKey | undefined;
  /** Another has rotated since this one was asked for. */
  isDone: boolean;
};

async function untilEveryNodeHasLoaded(
  dependencies: KeyDependencies,
  algorithms: readonly SigningAlgorithm[],
): Promise<void> {
  const { keys, now } = await readKeysAt(dependencies);
  const announced = algorithms.map((algorithm) => pairOf(keys, algorithm).next?.announcedAt.getTime() ?? 0);
  const waitMs = Math.max(...announced) + LOADED_WITHIN_MS + TIMER_MARGIN_MS - now.getTime();
  if (waitMs > 0) await delay(waitMs);
}

/** Between the announcement and the promotion somebody may have revoked the key or put another in its place. */
function gone(steps: readonly Step[], { now }: KeyChange): KeyRefusal | undefined {
  const step = steps.find(
    ({ next }) => next === undefined || now.getTime() - next.announcedAt.getTime() < LOADED_WITHIN_MS,
  );
  if (step === undefined) return undefined;
  const reason = `the announced key of ${step.algorithm} was replaced at the same time: nothing was changed, try again`;
  return { ok: false, code: 'conflict', reason };
}

/** What was announced is told: it stays, though the rotation is refused. */
function tooEarly(
  dependencies: KeyDependencies,
  steps: readonly Step[],
  { change: { now }, announced }: { change: KeyChange; announced: readonly SigningAlgorithm[] },
): KeyRefusal | undefined {
  const early = steps
    .map(({ algorithm, next }) => ({ algorithm, secondsLeft: announcementSecondsLeft(dependencies.policy, next, now) }))
    .filter(({ secondsLeft }) => secondsLeft > 0);
  if (early.length === 0) return undefined;
  const each = early
    .map(({ algorithm, secondsLeft }) => `${algorithm} in ${describeWait(secondsLeft, now)}`)
    .join(', ');
  const told = announced.length === 0 ? '' : `announced just now: ${announced.join(', ')}; `;
  const reason = `${told}announced keys may not sign yet: ${each}; --now lets them sign all the same`;
  return { ok: false, code: 'too_early', reason, secondsLeft: Math.max(...early.map((it) => it.secondsLeft)) };
}
