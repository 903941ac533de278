import { hash, randomBytes, timingSafeEqual } from 'node:crypto';

/** SHA-256: what is stored of a key's secret. 256 random bits need no slow digest. */
export function secretDigest(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

/** What nobody has a secret for stands in where there is none, so that the work is the same. */
const DECOY = randomBytes(32);

/** Compares with both digests in constant time, so that the time tells neither which one matched nor how far. */
export function matchesEither(
  presented: string,
  digests: { current: Buffer | undefined; previous: Buffer | undefined },
): boolean {
  const digest = secretDigest(presented);
  const isCurrent = timingSafeEqual(digest, digests.current ?? DECOY);
  const isPrevious = timingSafeEqual(digest, digests.previous ?? DECOY);
  return isCurrent || isPrevious;
}
