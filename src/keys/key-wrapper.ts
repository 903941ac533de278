import { AppError } from '../errors.ts';
import { decrypt, deriveKey, encrypt, KEY_BYTES } from './authenticated-encryption.ts';

/** A data key that only the holder of the named key-encryption key can open. Both members are fit for the database. */
export type WrappedKey = Readonly<{ keyEncryptionKeyId: string; wrapped: string }>;

/** Wraps data keys under a key-encryption key, which may be held elsewhere: hence the promises. */
export type KeyWrapper = Readonly<{
  /** @param context what the data key is for; the same is wanted to unwrap it */
  wrap(dataKey: Buffer, context: string): Promise<WrappedKey>;
  /**
   * @throws {AppError} `configuration` when the key-encryption key is not held
   * @throws {UnsealError} when it is held, and the wrapped key was altered or belongs to another context
   */
  unwrap(wrappedKey: WrappedKey, context: string): Promise<Buffer>;
}>;

/** Enough to tell a few keys apart, too little to be of use in finding one. */
const ID_BYTES = 8;

/**
 * Wraps with keys of this process: the first one (the newest) wraps, each unwraps what it has wrapped, so that a
 * key-encryption key is replaced by putting a new one in front.
 *
 * @param options.keyEncryptionKeys 32 bytes each, newest first
 * @param options.source what they come from, for the fault of one that does not fit; absent: KEY_ENCRYPTION_KEY
 */
export function createKeyWrapper(options: {
  keyEncryptionKeys: readonly Buffer[];
  source?: string | undefined;
}): KeyWrapper {
  const { source = 'KEY_ENCRYPTION_KEY' } = options;
  const keys = new Map(options.keyEncryptionKeys.map((key) => [keyEncryptionKeyId(key), Buffer.from(key)]));
  const newest = keys.entries().next().value;
  if (newest === undefined || [...keys.values()].some((key) => key.length !== KEY_BYTES)) {
    throw new AppError({ code: 'configuration', message: `KEY_ENCRYPTION_KEY wants ${KEY_BYTES} random bytes` });
  }
  const [newestId, newestKey] = newest;
  return Object.freeze({
    async wrap(dataKey: Buffer, context: string) {
      const wrapped = encrypt(newestKey, dataKey, context).toString('base64url');
      return { keyEncryptionKeyId: newestId, wrapped };
    },
    async unwrap(wrappedKey: WrappedKey, context: string) {
      const key = keys.get(wrappedKey.keyEncryptionKeyId);
      if (key === undefined) throw missingKey(source, wrappedKey.keyEncryptionKeyId, [...keys.keys()]);
      return decrypt(key, Buffer.from(wrappedKey.wrapped, 'base64url'), context);
    },
  });
}

/** A name by which a key-encryption key is found again and which tells nothing about it. */
function keyEncryptionKeyId(key: Buffer): string {
  return deriveKey(key, 'key id', '').subarray(0, ID_BYTES).toString('base64url');
}

function missingKey(source: string, wantedId: string, heldIds: readonly string[]): AppError {
  return new AppError({
    code: 'configuration',
    message:
      `${source} does not fit this database: its keys are sealed under ${wantedId}, ` +
      `given is ${heldIds.join(', ')}; nothing was changed, start again with a key that they are sealed under`,
  });
}
