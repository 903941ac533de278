import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import argon2 from 'argon2';
import type { Config } from '../config/index.ts';
import { createHashingQueue } from './hashing-queue.ts';

/**
 * libuv has four threads, and files, name look-ups and other cryptography need them too: one is left to these. More than
 * one per core would only make everyone wait longer, at 64 MiB each.
 */
const CONCURRENCY = Math.max(1, Math.min(availableParallelism(), 3));
/** At about 60 ms a hash, the last in line waits 2 s: as long as the 503 behind it asks to wait. */
const MAX_WAITING = CONCURRENCY * 32;

const SALT_BYTES = 16;
const HASH_BYTES = 32;

/** The two computations of argon2 that cost time; replaced in tests that count them. */
export type Argon2 = Readonly<Pick<typeof argon2, 'hash' | 'verify'>>;

/** Every function that computes throws {AppError} `temporarily_unavailable` (503) when too many are waiting already. */
export type PasswordHasher = Readonly<{
  hash(password: Buffer): Promise<string>;
  verify(passwordHash: string, password: Buffer): Promise<boolean>;
  /** Whether a hash was made otherwise than `hash` makes them now. */
  isOutdated(passwordHash: string): boolean;
  /** A hash of the current parameters that no password has: to verify against it takes as long as against a real one. */
  decoyHash: string;
}>;

/** argon2id (RFC 9106) with the configured parameters, a few computations at a time. */
export function createPasswordHasher(options: {
  parameters: Config['passwordHash'];
  argon2?: Argon2 | undefined;
  concurrency?: number | undefined;
  maxWaiting?: number | undefined;
}): PasswordHasher {
  const { hash, verify } = options.argon2 ?? argon2;
  const { memoryKib, passes, lanes } = options.parameters;
  const cost = { memoryCost: memoryKib, timeCost: passes, parallelism: lanes };
  const inTurn = createHashingQueue({
    concurrency: options.concurrency ?? CONCURRENCY,
    maxWaiting: options.maxWaiting ?? MAX_WAITING,
  });
  return Object.freeze({
    hash: (password: Buffer) =>
      inTurn(() => hash(password, { ...cost, type: argon2.argon2id, hashLength: HASH_BYTES })),
    verify: (passwordHash: string, password: Buffer) => inTurn(() => verify(passwordHash, password)),
    isOutdated: (passwordHash: string) =>
      !passwordHash.startsWith('$argon2id$') || argon2.needsRehash(passwordHash, cost),
    // Salt and hash are random instead of computed: a match would take a preimage of 256 bits.
    decoyHash: `$argon2id$v=19$m=${memoryKib},p=${lanes},t=${passes}$${phcBase64(SALT_BYTES)}$${phcBase64(HASH_BYTES)}`,
  });
}

/** Random bytes as the PHC string format has them: base64 without padding. */
function phcBase64(length: number): string {
  return randomBytes(length).toString('base64').replace(/=+$/, '');
}
