import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  formatApiKey,
  generateApiKeyId,
  generateApiKeySecret,
  isApiKeySecret,
  parseApiKey,
  parseApiKeyClientId,
  toApiKeyClientId,
} from '../../../src/api-keys/api-key-value.ts';

/** As docs/api-keys.md and DESIGN have it. */
const DOCUMENTED = /^tsk_[0-9A-Za-z]{16}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}$/;
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const base62 = fc.constantFrom(...ALPHABET);

function freshKey(): string {
  const id = generateApiKeyId();
  return formatApiKey({ id, secret: generateApiKeySecret(id) });
}

/** Another reader of the checksum, from what is documented alone. */
function documentedChecksum(key: string): string {
  let rest = crc32(key.slice(0, -6));
  let text = '';
  for (let i = 0; i < 6; i += 1) {
    text = `${ALPHABET[rest % 62]}${text}`;
    rest = Math.floor(rest / 62);
  }
  return text;
}

describe('a key', () => {
  test('has the documented form and checksum, and is read as it was made', () => {
    for (let i = 0; i < 200; i += 1) {
      const key = freshKey();
      expect(key).toMatch(DOCUMENTED);
      expect(key.slice(-6)).toBe(documentedChecksum(key));
      const parsed = parseApiKey(key);
      expect(parsed && formatApiKey(parsed)).toBe(key);
      expect(parsed && isApiKeySecret(parsed.id, parsed.secret)).toBe(true);
    }
  });

  test('with one character changed anywhere is refused', () => {
    const key = freshKey();
    fc.assert(
      fc.property(fc.nat(key.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, character) => {
        fc.pre(key[at] !== character);
        return parseApiKey(`${key.slice(0, at)}${character}${key.slice(at + 1)}`) === undefined;
      }),
      { numRuns: 2_000 },
    );
  });

  test('with two neighbours swapped is refused', () => {
    const key = freshKey();
    for (let at = 0; at + 1 < key.length; at += 1) {
      if (key[at] === key[at + 1]) continue;
      const swapped = `${key.slice(0, at)}${key[at + 1]}${key[at]}${key.slice(at + 2)}`;
      expect(parseApiKey(swapped)).toBeUndefined();
    }
  });

  test('is refused under the id of another', () => {
    const { secret } = parseApiKey(freshKey()) ?? { secret: '' };
    expect(isApiKeySecret(generateApiKeyId(), secret)).toBe(false);
  });

  test('is never made out of what is no key, and reading never throws', () => {
    fc.assert(fc.property(fc.string(), (text) => parseApiKey(text) === undefined));
    fc.assert(fc.property(fc.string(), fc.string(), (id, secret) => !isApiKeySecret(id, secret)));
    const key = freshKey();
    for (const almost of [
      ` ${key}`,
      `${key}\n`,
      `${key}0`,
      key.slice(1),
      key.toUpperCase(),
      key.replaceAll('_', '-'),
    ]) {
      expect(parseApiKey(almost)).toBeUndefined();
    }
  });

  test('has a secret of 256 bits: its first character takes no fewer values than 43 characters can hold', () => {
    const secrets = Array.from({ length: 4_000 }, () => generateApiKeySecret('0'.repeat(16)).slice(0, 43));
    expect(new Set(secrets).size).toBe(secrets.length);
    // 2 ** 256 / 62 ** 42 is 60.9: of 62 characters the first takes 61.
    expect(new Set(secrets.map((secret) => secret[0])).size).toBeGreaterThanOrEqual(60);
    for (let at = 1; at < 43; at += 1) expect(new Set(secrets.map((secret) => secret[at])).size).toBe(62);
  });

  test('has an id whose characters are all as likely', () => {
    const counts = new Map<string, number>();
    const ids = Array.from({ length: 5_000 }, generateApiKeyId).join('');
    for (const character of ids) counts.set(character, (counts.get(character) ?? 0) + 1);
    const expected = ids.length / ALPHABET.length;
    // Seven standard deviations: bytes taken modulo 62 would favour the first eight characters by a fourth.
    const allowed = 7 * Math.sqrt(expected);
    for (const character of ALPHABET) expect(Math.abs((counts.get(character) ?? 0) - expected)).toBeLessThan(allowed);
  });
});

test('a client_id names a key where it has the form of one, and no other', () => {
  fc.assert(
    fc.property(fc.string({ unit: base62, minLength: 16, maxLength: 16 }), (id) => {
      expect(parseApiKeyClientId(toApiKeyClientId(id))).toBe(id);
    }),
  );
  for (const other of [
    '',
    'tsk_',
    'tsk_short',
    `tsk_${'a'.repeat(17)}`,
    `TSK_${'a'.repeat(16)}`,
    'a'.repeat(16),
    freshKey(),
  ]) {
    expect(parseApiKeyClientId(other)).toBeUndefined();
  }
});
