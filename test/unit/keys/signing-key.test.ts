import { describe, expect, test } from '@jest/globals';
import { calculateJwkThumbprint } from 'jose';
import { generateSigningKey, publicPart } from '../../../src/keys/signing-key.ts';

const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

describe.each(['RS256', 'ES256', 'PS256', 'EdDSA'] as const)('a signing key for %s', (algorithm) => {
  test('is named by the thumbprint of its public part and says what it is for', async () => {
    const key = await generateSigningKey(algorithm);
    expect(key).toMatchObject({ alg: algorithm, use: 'sig', kid: await calculateJwkThumbprint(publicPart(key)) });
  });

  test('has a public part without any private member', async () => {
    const key = await generateSigningKey(algorithm);
    const published = publicPart(key);
    expect(Object.keys(published).filter((member) => PRIVATE_MEMBERS.includes(member))).toEqual([]);
    expect(published).toMatchObject({ kid: key.kid, alg: algorithm, use: 'sig', kty: key.kty });
  });
});

test('an RSA key has 2048 bits', async () => {
  const { n, e } = await generateSigningKey('RS256');
  expect(Buffer.from(n ?? '', 'base64url')).toHaveLength(256);
  expect(e).toBe('AQAB');
});
