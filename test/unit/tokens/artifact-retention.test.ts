import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { ArtifactKind } from '../../../src/tokens/artifact.ts';
import { isRetained, markConsumed, purgeTime } from '../../../src/tokens/artifact-retention.ts';

describe('retention', () => {
  test('no row may go while it is still found, and none stays ten minutes longer than that', () => {
    const kinds = fc.constantFrom<ArtifactKind>(
      'AccessToken',
      'Session',
      'AuthorizationCode',
      'DeviceCode',
      'RefreshToken',
    );
    fc.assert(
      fc.property(kinds, fc.integer({ min: 0, max: 4e12 }), (kind, expiresAt) => {
        const purgeAt = purgeTime(kind, expiresAt);
        expect(isRetained(kind, expiresAt, purgeAt)).toBe(false);
        expect(isRetained(kind, expiresAt, purgeAt - 600_000)).toBe(true);
      }),
    );
  });

  test('a session rewritten within minutes keeps its purge time, so that no index is touched', () => {
    const start = Date.UTC(2026, 0, 1, 12, 1);
    expect(purgeTime('Session', start + 300_000)).toBe(purgeTime('Session', start));
  });

  test('the exp of what has not expired, or is no replay target, stays as it was', () => {
    const now = 1_000_000;
    const alive = { exp: 1_001 };
    markConsumed('AuthorizationCode', alive, now, now);
    expect(alive).toEqual({ exp: 1_001, consumed: 1_000 });
    const pushed = { exp: 999 };
    markConsumed('PushedAuthorizationRequest', pushed, now, now);
    expect(pushed).toEqual({ exp: 999, consumed: 1_000 });
  });
});
