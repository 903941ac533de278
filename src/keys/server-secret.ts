import { randomBytes } from 'node:crypto';
import { AppError } from '../errors.ts';
import { KEY_BYTES, UnsealError } from './authenticated-encryption.ts';
import type { KeyWrapper } from './key-wrapper.ts';
import type { NewServerSecret } from './server-secret-store.ts';

/**
 * What the server keeps for itself. The first version makes all of these, so one that is missing in a database in use was
 * lost; what a later version adds is to be told from them. Two of them rotate: what they sign is short-lived, and the
 * versions before can go on verifying until it has expired. The others stay for as long as the database does:
 * - `artifact_key` seals rows that live up to a year; each context has a key of its own derived from it, so that none wears out.
 * - `user_code_key` finds rows by HMAC: under another key they would not be found.
 * - `pseudonym_key` counts attempts by HMAC: under another key whoever guesses passwords would begin anew.
 * - `csrf_key` binds a form to a signed cookie, and grants nothing without that; under another key open forms would fail.
 * - `pairwise_secret` never: every pairwise `sub` hangs on it (OpenID Connect Core 1.0, section 8.1).
 */
export const SERVER_SECRET_NAMES = [
  'artifact_key',
  'cookie_key',
  'csrf_key',
  'dpop_nonce_secret',
  'pairwise_secret',
  'pseudonym_key',
  'user_code_key',
] as const;

export type ServerSecretName = (typeof SERVER_SECRET_NAMES)[number];
export type RotatingSecretName = Extract<ServerSecretName, 'cookie_key' | 'dpop_nonce_secret'>;

/** Makes a version of a secret: 32 random bytes, wrapped for this name and version alone. */
export async function makeServerSecret(wrapper: KeyWrapper, name: string, version: number): Promise<NewServerSecret> {
  return wrapServerSecret(wrapper, { name, version, value: randomBytes(KEY_BYTES) });
}

export async function wrapServerSecret(
  wrapper: KeyWrapper,
  { name, version, value }: { name: string; version: number; value: Buffer },
): Promise<NewServerSecret> {
  return { name, version, wrappedKey: await wrapper.wrap(value, wrappingContext(name, version)) };
}

/** @throws {AppError} as the wrapper does; `server_error` where the row is not the one that was stored */
export async function unwrapServerSecret(wrapper: KeyWrapper, stored: NewServerSecret): Promise<Buffer> {
  const { name, version, wrappedKey } = stored;
  try {
    return await wrapper.unwrap(wrappedKey, wrappingContext(name, version));
  } catch (cause) {
    if (!(cause instanceof UnsealError)) throw cause;
    throw new AppError({
      code: 'server_error',
      message: `the server secret ${name} was altered in the database: restore the table server_secrets from a backup`,
      cause,
    });
  }
}

function wrappingContext(name: string, version: number): string {
  return `server-secret ${name} ${version}`;
}
