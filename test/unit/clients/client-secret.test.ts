import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import {
  generateSecret,
  givenSecretFault,
  matchesAnyDigest,
  secretDigest,
} from '../../../src/clients/client-secret.ts';

describe('client secrets', () => {
  test('have 256 random bits, printable, and are fit to be given', () => {
    const secrets = Array.from({ length: 200 }, generateSecret);
    expect(new Set(secrets).size).toBe(200);
    for (const secret of secrets) {
      expect(Buffer.from(secret, 'base64url')).toHaveLength(32);
      expect(givenSecretFault(secret)).toBeUndefined();
    }
  });

  test('are kept as SHA-256', () => {
    expect(secretDigest('secret')).toEqual(createHash('sha256').update('secret').digest());
  });

  test('match any of the live digests, and no other value does', () => {
    const digests = [secretDigest('current'), secretDigest('previous')];
    expect(matchesAnyDigest('current', digests)).toBe(true);
    expect(matchesAnyDigest('previous', digests)).toBe(true);
    for (const other of ['', 'Current', 'current ', ...digests.map((digest) => digest.toString('base64url'))]) {
      expect(matchesAnyDigest(other, digests)).toBe(false);
    }
    expect(matchesAnyDigest('current', [])).toBe(false);
  });
});
