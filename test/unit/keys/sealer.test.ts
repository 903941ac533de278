import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createSealer } from '../../../src/keys/sealer.ts';

const sealer = createSealer(randomBytes(32));
const text = fc.string({ unit: 'binary', maxLength: 200 }).filter((value) => value.isWellFormed());

describe('a sealed value', () => {
  test('opens in its own context to what was sealed', () => {
    fc.assert(
      fc.property(text, text, (plaintext, context) => {
        expect(sealer.unseal(sealer.seal(plaintext, context), context)).toBe(plaintext);
      }),
    );
  });

  test('does not open in any other context', () => {
    fc.assert(
      fc.property(text, text, text, (plaintext, context, other) => {
        fc.pre(context !== other);
        expect(() => sealer.unseal(sealer.seal(plaintext, context), other)).toThrow('altered, or belongs to another');
      }),
    );
  });

  test('does not open under another key', () => {
    const sealed = sealer.seal('value', 'row 1');
    expect(() => createSealer(randomBytes(32)).unseal(sealed, 'row 1')).toThrow('altered, or belongs to another');
  });

  test('does not open when any one byte is altered', () => {
    const bytes = Buffer.from(sealer.seal('value', 'row 1'), 'base64url');
    for (let index = 0; index < bytes.length; index += 1) {
      const altered = Buffer.from(bytes);
      altered.writeUInt8(altered.readUInt8(index) ^ 1, index);
      expect(() => sealer.unseal(altered.toString('base64url'), 'row 1')).toThrow(/a sealed value (was|is)/);
    }
  });

  test('of a version that is to come says so', () => {
    const bytes = Buffer.from(sealer.seal('value', 'row 1'), 'base64url');
    bytes[0] = 2;
    expect(() => sealer.unseal(bytes.toString('base64url'), 'row 1')).toThrow('of a version that is not known here');
  });

  test('does not open when it is cut short, empty, lengthened or written in another way', () => {
    const sealed = sealer.seal('value!', 'row 1');
    for (let length = 0; length < sealed.length; length += 1) {
      expect(() => sealer.unseal(sealed.slice(0, length), 'row 1')).toThrow(/a sealed value (was|is)/);
    }
    for (const other of [`${sealed}A`, `${sealed}=`, `${sealed}\n`, ` ${sealed}`]) {
      expect(() => sealer.unseal(other, 'row 1')).toThrow(/a sealed value (was|is)/);
    }
  });

  test('is another one each time and shows nothing of the plaintext but its length', () => {
    const all = Array.from({ length: 1_000 }, () => sealer.seal('the same value', 'row 1'));
    expect(new Set(all).size).toBe(all.length);
    const nonces = all.map((sealed) => Buffer.from(sealed, 'base64url').subarray(1, 13).toString('hex'));
    expect(new Set(nonces).size).toBe(all.length);
    expect(Buffer.from(all[0] ?? '', 'base64url').toString('latin1')).not.toContain('same');
  });

  test('is text that fits a URL and a JSON string as it is', () => {
    expect(sealer.seal('ünï', 'row')).toMatch(/^[\w-]+$/);
  });
});

test('text that has no UTF-8 form is refused, not changed', () => {
  expect(() => sealer.seal('\ud800', 'row')).toThrow('well-formed');
  expect(() => sealer.seal('value', '\ud800')).toThrow('well-formed');
});

test('a key of another length is refused', () => {
  expect(() => createSealer(randomBytes(16))).toThrow('32 bytes');
});

test('changing the buffer that the key came in does not change the sealer', () => {
  const key = randomBytes(32);
  const mine = createSealer(key);
  const sealed = mine.seal('value', 'row');
  key.fill(0);
  expect(mine.unseal(sealed, 'row')).toBe('value');
});
