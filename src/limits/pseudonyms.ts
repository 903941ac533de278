import { createHmac } from 'node:crypto';

/** The same for the same parts, in their order; tells nobody without the key what they were. */
export type Pseudonym = (...parts: string[]) => string;

/**
 * @param key a secret of at least 32 bytes, the same on every node: a bare digest of an IPv4 address is undone in seconds.
 *   Another key makes all counting start afresh
 */
export function createPseudonyms(key: Buffer): Pseudonym {
  return (...parts) => createHmac('sha256', key).update(JSON.stringify(parts)).digest('base64url');
}
