import { describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { describeTime } from '../../../src/playground/describe-time.ts';
import { explainFailure } from '../../../src/playground/explain-failure.ts';
import { decode } from '../../../src/playground/present-tokens.ts';

const NOW = Date.UTC(2026, 10, 24, 12, 0, 0);

describe('a token', () => {
  test('is decoded where it is a JWT, what every check begins with first', async () => {
    const jwt = await new SignJWT({ nonce: 'n', shoe_size: 43 })
      .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt' })
      .setAudience('urn:demo:notes')
      .setExpirationTime(NOW / 1_000 + 600)
      .setIssuer('https://id.example.com')
      .sign(Buffer.alloc(32));
    const decoded = decode(jwt, NOW);
    expect(decoded?.header.map(({ name, value }) => [name, value])).toEqual([
      ['alg', 'HS256'],
      ['typ', 'at+jwt'],
    ]);
    expect(decoded?.claims.map(({ name }) => name)).toEqual(['iss', 'aud', 'exp', 'nonce', 'shoe_size']);
    expect(decoded?.claims.find(({ name }) => name === 'exp')?.time).toEqual({
      iso: '2026-11-24T12:10:00.000Z',
      exact: '24 November 2026 at 12:10:00 UTC',
      relative: 'in 10 minutes',
    });
    expect(decoded?.claims.find(({ name }) => name === 'shoe_size')).toMatchObject({ value: '43', meaning: '' });
    expect(decoded?.claims.filter(({ name }) => name !== 'shoe_size').every(({ meaning }) => meaning !== '')).toBe(
      true,
    );
  });

  test('is not decoded where it is opaque', () => {
    expect(decode('N2Qx0fJ8JcJb3gQX2Ob9q7R1Yy5dVv0uW4nKfGmHs1E', NOW)).toBeUndefined();
  });
});

describe('a time', () => {
  test.each([
    [0, 'now'],
    [-1_000, '1 second ago'],
    [59_000, 'in 59 seconds'],
    [90_000, 'in 2 minutes'],
    [-3_600_000, '1 hour ago'],
    [14 * 86_400_000, 'in 14 days'],
  ])('%d ms from now is told as "%s"', (offset, relative) => {
    expect(describeTime(NOW + offset, NOW).relative).toBe(relative);
  });
});

describe('a failure', () => {
  test('is told in words, and an unknown one, too', () => {
    expect(explainFailure({ code: 'access_denied' }).title).toBe('Access was denied');
    expect(explainFailure({ code: 'constructor', description: 'odd' })).toMatchObject({
      code: 'constructor',
      title: 'The flow ended with an error',
      description: 'odd',
    });
  });
});
