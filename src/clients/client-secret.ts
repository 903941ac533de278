import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const SECRET_BYTES = 32;

/**
 * A secret is verified at every token request, so its digest is a fast one, and a stolen digest may be tried against
 * billions of guesses a second. Only entropy protects it: 32 characters are 128 bits even where they are hexadecimal.
 */
const MIN_GIVEN_LENGTH = 32;
const MAX_GIVEN_LENGTH = 256;
/** Thirty-two random hexadecimal digits practically never have fewer; a padded word does. */
const MIN_GIVEN_DISTINCT = 8;

/** 256 random bits in base64url. */
export function generateSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

/** SHA-256: what is stored of a secret. */
export function secretDigest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** Compares with every live digest in constant time, so that the time tells neither which one matched nor how far. */
export function matchesAnyDigest(presented: string, digests: readonly Buffer[]): boolean {
  const digest = secretDigest(presented);
  return digests.reduce((isMatch, live) => timingSafeEqual(digest, live) || isMatch, false);
}

/** Why a secret that somebody brings along is refused; absent when it is fit. */
export function givenSecretFault(secret: string): string | undefined {
  // RFC 6749, appendix A.2, without the space that a shell or a form would lose.
  if (!/^[\x21-\x7e]*$/.test(secret)) return 'wants printable ASCII characters without spaces';
  if (secret.length < MIN_GIVEN_LENGTH) {
    return `wants at least ${MIN_GIVEN_LENGTH} random characters: it is kept as a fast digest, which only entropy protects`;
  }
  if (secret.length > MAX_GIVEN_LENGTH) return `wants at most ${MAX_GIVEN_LENGTH} characters`;
  if (new Set(secret).size < MIN_GIVEN_DISTINCT) return 'wants random characters, not a repeated few';
  return undefined;
}
