import type { SigningAlgorithm, SigningKey } from './signing-key.ts';

/** How signing keys live. */
export type KeyPolicy = Readonly<{
  /** What is offered to clients and APIs. */
  algorithms: readonly SigningAlgorithm[];
  /** From a key's first signature to the next one's. */
  rotationSeconds: number;
  /** From a key's publication to its first signature: longer than anyone keeps what stood at /jwks. */
  announceSeconds: number;
  /** From a key's last signature to the end of the last token or session that hangs on it. */
  retentionSeconds: number;
}>;

/** Keys at one moment, by one clock. */
export type KeysAt = Readonly<{
  keys: readonly SigningKey[];
  now: Date;
  /** Algorithms that clients and APIs are registered for, offered or not. */
  inUse: ReadonlySet<string>;
}>;

export type DueStep = Readonly<
  /** Urgent: nothing could be signed without, and so the key is not announced before. */
  | { do: 'make'; algorithm: SigningAlgorithm; isUrgent: boolean }
  | { do: 'promote'; algorithm: SigningAlgorithm; kid: string; isUrgent: boolean }
  | { do: 'retire' | 'remove'; algorithm: SigningAlgorithm; kid: string }
>;

/** What comes next for a key, by itself, and when. */
export type NextStep = Readonly<{ step: 'activation' | 'retirement' | 'removal'; at: Date }>;

/**
 * What is due, in the order in which it is to be done. An algorithm that is no longer offered keeps its keys while a client
 * or an API is registered for it.
 */
export function dueSteps(policy: KeyPolicy, at: KeysAt): DueStep[] {
  const { keys, now, inUse } = at;
  const wanted = new Set<SigningAlgorithm>([
    ...policy.algorithms,
    ...keys.map(({ algorithm }) => algorithm).filter((algorithm) => inUse.has(algorithm)),
  ]);
  return [
    ...[...wanted].flatMap((algorithm) => dueOf(policy, at, algorithm)),
    ...keys.flatMap(({ algorithm, kid, state, retiredAt }): DueStep[] => {
      if (state === 'retired') {
        const isOver = now >= after(retiredAt ?? now, policy.retentionSeconds);
        return isOver ? [{ do: 'remove', algorithm, kid }] : [];
      }
      if (wanted.has(algorithm)) return [];
      if (state === 'active') return [{ do: 'retire', algorithm, kid }];
      // It never signed.
      return state === 'next' ? [{ do: 'remove', algorithm, kid }] : [];
    }),
  ];
}

/** Seconds until a key was announced for long enough to sign; 0: it was. */
export function announcementSecondsLeft(policy: KeyPolicy, next: SigningKey | undefined, now: Date): number {
  const signsFrom = after(next?.announcedAt ?? now, policy.announceSeconds);
  return Math.max(0, Math.ceil((signsFrom.getTime() - now.getTime()) / MS_PER_SECOND));
}

/** For a person: about how long, and until when. */
export function describeWait(secondsLeft: number, now: Date): string {
  const end = after(now, secondsLeft)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z');
  const [unit, seconds] = UNITS.find(([, length]) => secondsLeft >= 2 * length) ?? ['s', 1];
  return `${Math.round(secondsLeft / seconds)} ${unit} (at ${end})`;
}

/** What comes next for one of the keys, undefined where that is nothing. */
export function nextStepOf(policy: KeyPolicy, key: SigningKey, keys: readonly SigningKey[]): NextStep | undefined {
  if (key.state === 'revoked') return undefined;
  if (key.state === 'retired' && key.retiredAt !== undefined) {
    return { step: 'removal', at: after(key.retiredAt, policy.retentionSeconds) };
  }
  const { active, next } = pairOf(keys, key.algorithm);
  // A key that is yet to be announced will be in time.
  const at = next === undefined ? rotatesAt(policy, key) : activationOf(policy, active, next.announcedAt);
  return { step: key.state === 'next' ? 'activation' : 'retirement', at };
}

/** When the key that is to follow one that signs will be announced; undefined where it is, or for one that doesn't. */
export function successorAnnouncedAt(
  policy: KeyPolicy,
  key: SigningKey,
  keys: readonly SigningKey[],
): Date | undefined {
  const isAwaited = key.state === 'active' && pairOf(keys, key.algorithm).next === undefined;
  return isAwaited ? announcesAt(policy, key) : undefined;
}

/** When a key signs that is announced at a time, after the one that signs now. */
export function activationOf(policy: KeyPolicy, active: SigningKey | undefined, announcedAt: Date): Date {
  const announcedUntil = after(announcedAt, policy.announceSeconds);
  if (active === undefined) return announcedUntil;
  return new Date(Math.max(announcedUntil.getTime(), rotatesAt(policy, active).getTime()));
}

/** The key that signs by an algorithm, and the one that is to follow. */
export function pairOf<Key extends SigningKey>(
  keys: readonly Key[],
  algorithm: SigningAlgorithm,
): { active: Key | undefined; next: Key | undefined } {
  const inState = (state: 'active' | 'next') => keys.find((key) => key.algorithm === algorithm && key.state === state);
  return { active: inState('active'), next: inState('next') };
}

/**
 * How often one looks at what is due: a tenth of the announcement is never noticed, and within a minute what was missed
 * during an outage is made good.
 */
export function keyCheckSeconds({ announceSeconds }: Pick<KeyPolicy, 'announceSeconds'>): number {
  return Math.min(60, Math.max(1, Math.floor(announceSeconds / 10)));
}

function dueOf(policy: KeyPolicy, { keys, now, inUse }: KeysAt, algorithm: SigningAlgorithm): DueStep[] {
  const { active, next } = pairOf(keys, algorithm);
  if (active === undefined) return withoutActive(policy, { keys, now, inUse }, algorithm, next);
  if (next === undefined) {
    const isDue = now >= announcesAt(policy, active);
    return isDue ? [{ do: 'make', algorithm, isUrgent: false }] : [];
  }
  const isDue = now >= activationOf(policy, active, next.announcedAt);
  return isDue ? [{ do: 'promote', algorithm, kid: next.kid, isUrgent: false }] : [];
}

/**
 * The first start makes what signs: nobody can have cached anything. An algorithm that is added later is announced like
 * any other key; where clients and APIs want it already, a key that they don't know is better than none.
 */
function withoutActive(
  policy: KeyPolicy,
  { keys, now, inUse }: KeysAt,
  algorithm: SigningAlgorithm,
  next: SigningKey | undefined,
): DueStep[] {
  const isUrgent = keys.length === 0 || inUse.has(algorithm);
  if (next === undefined) return [{ do: 'make', algorithm, isUrgent }];
  const isDue = isUrgent || announcementSecondsLeft(policy, next, now) === 0;
  return isDue ? [{ do: 'promote', algorithm, kid: next.kid, isUrgent }] : [];
}

const MS_PER_SECOND = 1_000;

/** Longest first; one of which there are two at least is used. */
const UNITS: readonly (readonly [unit: string, seconds: number])[] = [
  ['days', 86_400],
  ['h', 3_600],
  ['min', 60],
];

function rotatesAt(policy: KeyPolicy, active: SigningKey): Date {
  return after(active.activatedAt ?? active.createdAt, policy.rotationSeconds);
}

function announcesAt(policy: KeyPolicy, active: SigningKey): Date {
  return after(rotatesAt(policy, active), -policy.announceSeconds);
}

function after(time: Date, seconds: number): Date {
  return new Date(time.getTime() + seconds * MS_PER_SECOND);
}
