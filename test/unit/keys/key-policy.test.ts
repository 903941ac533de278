import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  announcementSecondsLeft,
  type DueStep,
  describeWait,
  dueSteps,
  type KeyPolicy,
  keyCheckSeconds,
  nextStepOf,
  successorAnnouncedAt,
} from '../../../src/keys/key-policy.ts';
import type { SigningAlgorithm, SigningKey, SigningKeyState } from '../../../src/keys/signing-key.ts';

const START = Date.UTC(2026, 10, 24);
const policy: KeyPolicy = { algorithms: ['RS256'], rotationSeconds: 90, announceSeconds: 14, retentionSeconds: 30 };

const at = (seconds: number) => new Date(START + seconds * 1_000);

function key(state: SigningKeyState, since: number, algorithm: SigningAlgorithm = 'RS256'): SigningKey {
  const [time, none] = [at(since), undefined];
  return {
    kid: `${algorithm} ${state} ${since}`,
    algorithm,
    state,
    createdAt: time,
    announcedAt: time,
    activatedAt: state === 'active' ? time : none,
    retiredAt: state === 'retired' ? time : none,
    revokedAt: state === 'revoked' ? time : none,
    publicJwk: {},
  };
}

function due(
  keys: SigningKey[],
  seconds: number,
  options: { algorithms?: SigningAlgorithm[]; inUse?: string[] } = {},
): string[] {
  const inUse = new Set(options.inUse ?? ['RS256']);
  const steps = dueSteps({ ...policy, ...options }, { keys, now: at(seconds), inUse });
  return steps.map(describeStep);
}

function describeStep(step: DueStep): string {
  const urgency = 'isUrgent' in step && step.isUrgent ? ' at once' : '';
  return `${step.do} ${step.do === 'make' ? step.algorithm : step.kid}${urgency}`;
}

describe('what is due', () => {
  test('at the first start: a key that signs for every algorithm that is offered', () => {
    expect(due([], 0, { algorithms: ['RS256', 'ES256', 'PS256', 'EdDSA'] })).toEqual([
      'make RS256 at once',
      'make ES256 at once',
      'make PS256 at once',
      'make EdDSA at once',
    ]);
  });

  test('nothing, until the time of announcement before the next rotation', () => {
    expect(due([key('active', 0)], 75.999)).toEqual([]);
    expect(due([key('active', 0)], 76)).toEqual(['make RS256']);
  });

  test('the announced key signs when the one before is due, and not before', () => {
    const keys = [key('active', 0), key('next', 76)];
    expect(due(keys, 89.999)).toEqual([]);
    expect(due(keys, 90)).toEqual(['promote RS256 next 76']);
  });

  test('a key that was announced late is announced for its whole time all the same', () => {
    const keys = [key('active', 0), key('next', 200)];
    expect(due(keys, 213.999)).toEqual([]);
    expect(due(keys, 214)).toEqual(['promote RS256 next 200']);
  });

  test('a retired key goes when the last that it signed is over', () => {
    const keys = [key('active', 10), key('retired', 10)];
    expect(due(keys, 39.999)).toEqual([]);
    expect(due(keys, 40)).toEqual(['remove RS256 retired 10']);
  });

  test('a revoked key stays for ever, so that its name does not come back', () => {
    expect(due([key('active', 0), key('revoked', -1_000_000)], 10)).toEqual([]);
  });

  test('an algorithm that is added is announced like any other key', () => {
    const keys = [key('active', 0)];
    const algorithms: SigningAlgorithm[] = ['RS256', 'EdDSA'];
    expect(due(keys, 1, { algorithms })).toEqual(['make EdDSA']);
    const announced = [...keys, key('next', 1, 'EdDSA')];
    expect(due(announced, 14.999, { algorithms })).toEqual([]);
    expect(due(announced, 15, { algorithms })).toEqual(['promote EdDSA next 1']);
  });

  test('where nothing signs what clients want, a key does so at once', () => {
    const others = [key('active', 0)];
    const options = { algorithms: ['RS256', 'ES256'] as SigningAlgorithm[], inUse: ['RS256', 'ES256'] };
    expect(due(others, 1, options)).toEqual(['make ES256 at once']);
    expect(due([...others, key('next', 1, 'ES256')], 1, options)).toEqual(['promote ES256 next 1 at once']);
  });

  test('keys of an algorithm that is no longer offered retire, and those that never signed go', () => {
    const keys = [key('active', 0), key('active', 0, 'ES256'), key('next', 0, 'ES256')];
    expect(due(keys, 1)).toEqual(['retire ES256 active 0', 'remove ES256 next 0']);
  });

  test('while a client or an API is registered for it, its keys live on', () => {
    const keys = [key('active', 0), key('active', 0, 'ES256')];
    expect(due(keys, 76, { inUse: ['RS256', 'ES256'] })).toEqual(['make RS256', 'make ES256']);
  });

  test('is the same on every node, and doing it leaves nothing more to be done', () => {
    const states = fc.constantFrom<SigningKeyState>('next', 'active', 'retired', 'revoked');
    const keys = fc.uniqueArray(fc.tuple(states, fc.integer({ min: 0, max: 300 })), {
      // As the database holds it: one that signs and one to come.
      selector: ([state, since]) => (state === 'active' || state === 'next' ? state : `${state} ${since}`),
    });
    fc.assert(
      fc.property(keys, fc.integer({ min: 0, max: 600 }), (drawn, seconds) => {
        const before = drawn.map(([state, since]) => key(state, Math.min(since, seconds)));
        let present = before;
        for (const step of dueSteps(policy, { keys: before, now: at(seconds), inUse: new Set(['RS256']) })) {
          present = done(step, present, seconds);
        }
        expect(due(present, seconds)).toEqual([]);
        expect(present.filter(({ state }) => state === 'active')).toHaveLength(1);
      }),
    );
  });
});

function done(step: DueStep, keys: SigningKey[], seconds: number): SigningKey[] {
  if (step.do === 'make') return [...keys, key(step.isUrgent ? 'active' : 'next', seconds)];
  const others = keys.filter(({ kid }) => kid !== step.kid);
  if (step.do === 'remove') return others;
  if (step.do === 'retire') return [...others, key('retired', seconds)];
  return [...others.map((it) => (it.state === 'active' ? key('retired', seconds) : it)), key('active', seconds)];
}

describe('what people are told', () => {
  test('how many seconds an announcement has still to last, in whole ones, and all of them where there is none', () => {
    expect(announcementSecondsLeft(policy, key('next', 0), at(0.5))).toBe(14);
    expect(announcementSecondsLeft(policy, key('next', 0), at(13.001))).toBe(1);
    expect(announcementSecondsLeft(policy, key('next', 0), at(14))).toBe(0);
    expect(announcementSecondsLeft(policy, key('next', 0), at(1_000))).toBe(0);
    expect(announcementSecondsLeft(policy, undefined, at(0))).toBe(14);
  });

  test('when each key takes its next step', () => {
    const [active, next, retired, revoked] = [key('active', 0), key('next', 80), key('retired', 5), key('revoked', 5)];
    const keys = [active, next, retired, revoked];
    expect(nextStepOf(policy, active, keys)).toEqual({ step: 'retirement', at: at(94) });
    expect(nextStepOf(policy, next, keys)).toEqual({ step: 'activation', at: at(94) });
    expect(nextStepOf(policy, retired, keys)).toEqual({ step: 'removal', at: at(35) });
    expect(nextStepOf(policy, revoked, keys)).toBeUndefined();
    expect(nextStepOf(policy, active, [active])).toEqual({ step: 'retirement', at: at(90) });
    expect(nextStepOf(policy, next, [next])).toEqual({ step: 'activation', at: at(94) });
  });

  test('when the next key will be announced, for one that signs and has no successor', () => {
    const [active, next, other] = [key('active', 0), key('next', 80), key('active', 10, 'ES256')];
    expect(successorAnnouncedAt(policy, active, [active, other])).toEqual(at(76));
    expect(successorAnnouncedAt(policy, other, [active, next, other])).toEqual(at(86));
    for (const none of [active, next]) expect(successorAnnouncedAt(policy, none, [active, next])).toBeUndefined();
    for (const state of ['retired', 'revoked'] as const) {
      expect(successorAnnouncedAt(policy, key(state, 0), [key(state, 0)])).toBeUndefined();
    }
  });

  test.each([
    [1_209_600, 60],
    [300, 30],
    [4, 1],
    [1, 1],
  ])('keys announced for %i s are looked at every %i s', (announceSeconds, seconds) => {
    expect(keyCheckSeconds({ announceSeconds })).toBe(seconds);
  });
});

test.each([
  [14 * 86_400, '14 days (at 2026-12-08T00:00:00Z)'],
  [14 * 86_400 - 11, '14 days (at 2026-12-07T23:59:49Z)'],
  [36 * 3_600, '36 h (at 2026-11-25T12:00:00Z)'],
  [7_199, '120 min (at 2026-11-24T01:59:59Z)'],
  [119, '119 s (at 2026-11-24T00:01:59Z)'],
  [1, '1 s (at 2026-11-24T00:00:01Z)'],
])('a wait of %i s is told in units that people reckon in, with its end', (seconds, told) => {
  expect(describeWait(seconds, new Date(START + 999))).toBe(told);
});
