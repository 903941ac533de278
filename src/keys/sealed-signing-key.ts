import { randomBytes } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { AppError } from '../errors.ts';
import { KEY_BYTES, UnsealError } from './authenticated-encryption.ts';
import type { KeyWrapper, WrappedKey } from './key-wrapper.ts';
import { createSealer } from './sealer.ts';
import { type PrivateJwk, publicPart, type SigningAlgorithm } from './signing-key.ts';

/** A private part that is fit for the database: sealed under a data key of its own, the data key wrapped. */
export type SealedPrivateKey = Readonly<{
  /** Counted up when the key is sealed anew, and bound into what is sealed. */
  version: number;
  sealedPrivateJwk: string;
  dataKey: WrappedKey;
}>;

/** What of a stored key is needed to open it. */
export type SealedSigningKey = SealedPrivateKey & Readonly<{ kid: string; algorithm: SigningAlgorithm }>;

type OpenedSigningKey = Readonly<{ privateJwk: PrivateJwk; publicJwk: JWK }>;

/** Seals under a new data key. @throws what the wrapper throws */
export async function sealSigningKey(
  wrapper: KeyWrapper,
  privateJwk: PrivateJwk,
  version: number,
): Promise<SealedPrivateKey> {
  const context = sealingContext(privateJwk.kid, version);
  const dataKey = randomBytes(KEY_BYTES);
  const sealedPrivateJwk = createSealer(dataKey).seal(JSON.stringify(privateJwk), context);
  return { version, sealedPrivateJwk, dataKey: await wrapper.wrap(dataKey, context) };
}

/**
 * Opens what is sealed.
 *
 * @throws {AppError} `configuration` when the key-encryption key does not fit, `server_error` when the row was altered
 */
export async function openSigningKey(wrapper: KeyWrapper, sealed: SealedSigningKey): Promise<PrivateJwk> {
  const context = sealingContext(sealed.kid, sealed.version);
  try {
    const dataKey = await wrapper.unwrap(sealed.dataKey, context);
    const privateJwk = JSON.parse(createSealer(dataKey).unseal(sealed.sealedPrivateJwk, context)) as PrivateJwk;
    if ((await calculateJwkThumbprint(privateJwk)) !== sealed.kid) throw notTheOneNamed();
    if (privateJwk.kid !== sealed.kid || privateJwk.alg !== sealed.algorithm) throw notTheOneNamed();
    return privateJwk;
  } catch (cause) {
    if (!(cause instanceof UnsealError)) throw cause;
    throw new AppError({
      code: 'server_error',
      message: `the signing key ${sealed.kid} was altered in the database: restore the table signing_keys from a backup`,
      cause,
    });
  }
}

/** Opens keys once. */
export type KeyRing = Readonly<{
  /**
   * The keys in the order given; those that are not named any more are forgotten.
   *
   * @returns `fault`: why one of them could not be opened, as `openSigningKey` throws it. What was opened before under
   *   another seal is used on; what never was is left out
   */
  open(sealed: readonly SealedSigningKey[]): Promise<{ keys: OpenedSigningKey[]; fault: unknown }>;
}>;

type Held = Readonly<{ identity: string; key: OpenedSigningKey }>;

/**
 * Keeps opened keys in memory, so that they are used on while whoever holds the key-encryption key is away. A row that
 * differs in any part from the one that was opened is opened anew.
 */
export function createKeyRing(wrapper: KeyWrapper): KeyRing {
  let held: ReadonlyMap<string, Held> = new Map();

  async function openOne(sealed: SealedSigningKey): Promise<{ held: Held | undefined; fault?: unknown }> {
    const { kid, algorithm, version, sealedPrivateJwk, dataKey } = sealed;
    const identity = JSON.stringify([kid, algorithm, version, sealedPrivateJwk, dataKey]);
    const known = held.get(kid);
    if (known?.identity === identity) return { held: known };
    try {
      const privateJwk = await openSigningKey(wrapper, sealed);
      // Derived from what was unsealed, not read from the table: who can write to the database can't publish a key.
      return { held: { identity, key: { privateJwk, publicJwk: publicPart(privateJwk) } } };
    } catch (fault) {
      return { held: known?.key.privateJwk.alg === algorithm ? known : undefined, fault };
    }
  }

  return Object.freeze({
    async open(sealed: readonly SealedSigningKey[]) {
      const outcomes = await Promise.all(sealed.map(openOne));
      const opened = outcomes.flatMap((outcome) => outcome.held ?? []);
      held = new Map(opened.map((one) => [one.key.privateJwk.kid, one]));
      return { keys: opened.map(({ key }) => key), fault: outcomes.find(({ fault }) => fault !== undefined)?.fault };
    },
  });
}

function notTheOneNamed(): UnsealError {
  return new UnsealError('a signing key is not the one that its row names');
}

function sealingContext(kid: string, version: number): string {
  return `signing-key ${kid} ${version}`;
}
