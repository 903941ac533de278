import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
export const KEY_BYTES = 32;
/** 96 random bits: the length for which GCM is specified without hashing (NIST SP 800-38D, section 8.2.2). */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** First byte of everything that is encrypted here, so that another construction can follow beside this one. */
const VERSION = 1;

/** What was stored is not what was encrypted: altered, cut short, or opened with another key or in another context. */
export class UnsealError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnsealError';
  }
}

/**
 * Encrypts under a key of its own for each context. Random nonces allow 2^32 messages under one key (NIST SP 800-38D,
 * section 8.3), which a busy server passes within weeks; derived by context the bound holds for each context alone.
 *
 * @param key 32 bytes, used for nothing but derivation
 * @param context what the value is and where it belongs: part of the derivation and of the additional data
 * @returns version (1 byte), nonce (12), ciphertext, tag (16)
 */
export function encrypt(key: Buffer, plaintext: Buffer, context: string): Buffer {
  const header = Buffer.of(VERSION);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, deriveKey(key, 'seal', context), nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.concat([header, Buffer.from(context)]));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([header, nonce, ciphertext, cipher.getAuthTag()]);
}

/** Gives back what {@link encrypt} was given. @throws {UnsealError} when key, context or any byte differ */
export function decrypt(key: Buffer, encrypted: Buffer, context: string): Buffer {
  if (encrypted.length < 1 + NONCE_BYTES + TAG_BYTES) throw new UnsealError('a sealed value is cut short');
  if (encrypted[0] !== VERSION) throw new UnsealError('a sealed value is of a version that is not known here');
  const header = encrypted.subarray(0, 1);
  const nonce = encrypted.subarray(1, 1 + NONCE_BYTES);
  const ciphertext = encrypted.subarray(1 + NONCE_BYTES, -TAG_BYTES);
  const decipher = createDecipheriv(CIPHER, deriveKey(key, 'seal', context), nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.concat([header, Buffer.from(context)]));
  decipher.setAuthTag(encrypted.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  } catch {
    throw new UnsealError('a sealed value was altered, or belongs to another key or context');
  }
}

/** One block of the counter-mode derivation of NIST SP 800-108r1, section 4.1, with HMAC-SHA-256: 32 bytes. */
export function deriveKey(key: Buffer, label: string, context: string): Buffer {
  return createHmac('sha256', key)
    .update(Buffer.of(0, 0, 0, 1))
    .update(`tessera ${label}\0${context}`)
    .update(Buffer.of(0, 0, 1, 0))
    .digest();
}
