import { describe, expect, test } from '@jest/globals';
import { dueSecretSteps, type ServerSecretVersion } from '../../../src/keys/server-secret-policy.ts';

const POLICY = { rotationSeconds: 100, announceSeconds: 10, retentionSeconds: 50 };
const NOW = new Date(Date.UTC(2026, 10, 24));
const ago = (seconds: number) => new Date(NOW.getTime() - seconds * 1_000);

/** A version, by how many seconds ago what happened to it. */
function aged(version: number, created: number, activated?: number, retired?: number): ServerSecretVersion {
  return {
    name: 'cookie_key',
    version,
    createdAt: ago(created),
    activatedAt: activated === undefined ? undefined : ago(activated),
    retiredAt: retired === undefined ? undefined : ago(retired),
  };
}

const NOTHING = { announce: undefined, promote: undefined, remove: [] };

describe('what is due for the versions of a secret', () => {
  test('nothing while the one in use is young, and nothing where the secret is yet to be made', () => {
    expect(dueSecretSteps([aged(1, 89, 89)], POLICY, NOW)).toEqual(NOTHING);
    expect(dueSecretSteps([], POLICY, NOW)).toEqual(NOTHING);
  });

  test('the next one is announced when the announce time is left, once, under a number that was never used', () => {
    const old = [aged(4, 90, 90), aged(3, 300, 190, 20)];
    expect(dueSecretSteps(old, POLICY, NOW)).toEqual({ ...NOTHING, announce: 5 });
    expect(dueSecretSteps([aged(5, 0), ...old], POLICY, NOW)).toEqual(NOTHING);
  });

  test.each([
    ['on its day', aged(1, 100, 100), aged(2, 10), 2],
    ['not before its day, however long it was announced', aged(1, 99, 99), aged(2, 60), undefined],
    ['not before it was announced for long enough, however late', aged(1, 900, 900), aged(2, 9), undefined],
  ])('the announced one takes over %s', (_when, active, next, promote) => {
    expect(dueSecretSteps([next, active], POLICY, NOW)).toEqual({ ...NOTHING, promote });
  });

  test('one that is retired goes when nothing that it signed is good any more', () => {
    const versions = [aged(3, 60, 40), aged(2, 160, 140, 49), aged(1, 260, 240, 50)];
    expect(dueSecretSteps(versions, POLICY, NOW)).toEqual({ ...NOTHING, remove: [1] });
  });
});
