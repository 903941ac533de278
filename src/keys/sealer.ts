import { decrypt, encrypt, KEY_BYTES, UnsealError } from './authenticated-encryption.ts';

/** Makes text unreadable and unalterable without the key. */
export type Sealer = Readonly<{
  /** @returns base64url; another one at every call */
  seal(plaintext: string, context: string): string;
  /** @throws {UnsealError} when the text was altered, or sealed in another context or under another key */
  unseal(sealed: string, context: string): string;
}>;

/**
 * Seals with AES-256-GCM. `context` says what the value is and where it belongs (kind and row), so that a sealed value
 * that is moved to another row does not open there.
 *
 * @param dataKey 32 random bytes
 */
export function createSealer(dataKey: Buffer): Sealer {
  if (dataKey.length !== KEY_BYTES) throw new TypeError(`a sealer wants a key of ${KEY_BYTES} bytes`);
  const key = Buffer.from(dataKey);
  return Object.freeze({
    seal(plaintext: string, context: string) {
      refuseLoneSurrogates(plaintext, context);
      return encrypt(key, Buffer.from(plaintext), context).toString('base64url');
    },
    unseal(sealed: string, context: string) {
      refuseLoneSurrogates(context);
      const encrypted = Buffer.from(sealed, 'base64url');
      // Node ignores what is not base64url: without this, several texts would open as one.
      if (encrypted.toString('base64url') !== sealed) throw new UnsealError('a sealed value is not base64url');
      return decrypt(key, encrypted, context).toString();
    },
  });
}

/** UTF-8 has no lone surrogates: they would come back as U+FFFD, and contexts that differ in them alone would be one. */
function refuseLoneSurrogates(...texts: string[]): void {
  if (!texts.every((text) => text.isWellFormed())) throw new TypeError('only well-formed Unicode can be sealed');
}
