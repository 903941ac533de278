import { calculateJwkThumbprint, type JWK } from 'jose';
import { advanceSigningKeys } from './advance-signing-keys.ts';
import type { KeyDependencies } from './change-signing-keys.ts';
import { type Import, importSigningKey } from './import-signing-key.ts';
import { type NextStep, nextStepOf, successorAnnouncedAt } from './key-policy.ts';
import { resealSigningKeys } from './reseal-signing-keys.ts';
import { type Revocation, revokeSigningKey } from './revoke-signing-key.ts';
import { type Rotation, rotateSigningKeys } from './rotate-signing-keys.ts';
import { createKeyRing } from './sealed-signing-key.ts';
import type { SigningAlgorithm, SigningKey } from './signing-key.ts';
import { readSigningKeys } from './signing-key-store.ts';

/** Keys as the signer and the verifiers want them: active ones first, each with `kid`, `alg` and `use`. */
type SigningKeySet = Readonly<{
  privateJwks: JWK[];
  publicJwks: JWK[];
  /** Those that a key signs with at the moment. */
  algorithms: readonly SigningAlgorithm[];
}>;

type ListedSigningKey = Omit<SigningKey, 'publicJwk'> &
  Readonly<{
    /** Undefined: what stands in the table is not the public part of the key that the row names. */
    publicJwk: JWK | undefined;
    nextStep: NextStep | undefined;
    /** When the key that is to follow this one will be announced; undefined where it is, or where this one doesn't sign. */
    successorAnnouncedAt: Date | undefined;
  }>;

export type SigningKeys = Readonly<{
  /**
   * Makes an active key where nothing could be signed without: at the first start, and for what clients and APIs want.
   * Nodes that start at once end with one of each.
   *
   * @throws {AppError} as `load` does, before anything is written
   */
  ensure(): Promise<void>;
  /**
   * Opens every key that is not revoked; those that were opened before are remembered.
   *
   * @throws {AppError} `configuration` when KEY_ENCRYPTION_KEY does not fit, `server_error` when a row was altered
   */
  load(): Promise<SigningKeySet>;
  /**
   * The same for a server that runs, which goes on with what it has: `fault` says why a key can't be opened. So a key that
   * was revoked leaves even while whoever holds the key-encryption key is away.
   */
  loadAvailable(): Promise<SigningKeySet & Readonly<{ fault: unknown }>>;
  /** Every key there is, revoked ones too, without private parts; and what will happen to each by itself. */
  list(): Promise<ListedSigningKey[]>;
  /** Does what of the life cycle is due, on any number of nodes at once. To be called again and again. */
  advance(): Promise<void>;
  /** Lets announced keys sign: after their time of announcement, or `now`. */
  rotate(options: { algorithm?: string | undefined; now?: boolean | undefined }): Promise<Rotation>;
  /** Takes a key out of use, and out of /jwks. */
  revoke(kid: string, options: { now?: boolean | undefined }): Promise<Revocation>;
  /** Announces a key that was made elsewhere. @param text PEM, a JWK, or a JWKS with one key in it */
  importKey(text: string, options: { algorithm?: string | undefined }): Promise<Import>;
  /** Seals every key anew under the newest key-encryption key. @returns how many */
  reseal(): Promise<number>;
}>;

/** In the order in which the signer takes them: a node that can't open the active key must not use an unannounced one. */
const PUBLISHED = ['active', 'retired', 'next'] as const;

/** Who can write to the table can't have another key taken for the one that the row names. */
async function isPublicPartOf({ kid, algorithm, publicJwk }: SigningKey): Promise<boolean> {
  if (publicJwk.kid !== kid || publicJwk.alg !== algorithm) return false;
  // A thumbprint is of a whole key alone.
  return kid === (await calculateJwkThumbprint(publicJwk).catch(() => undefined));
}

/** The signing keys of all nodes on one database. */
export function createSigningKeys(dependencies: KeyDependencies): SigningKeys {
  const ring = createKeyRing(dependencies.wrapper);

  async function loadAvailable(): Promise<SigningKeySet & { fault: unknown }> {
    const stored = await readSigningKeys(dependencies.knex);
    const published = PUBLISHED.flatMap((state) => stored.filter((key) => key.state === state));
    const { keys, fault } = await ring.open(published);
    return {
      privateJwks: keys.map(({ privateJwk }) => privateJwk),
      publicJwks: keys.map(({ publicJwk }) => publicJwk),
      algorithms: published.filter(({ state }) => state === 'active').map(({ algorithm }) => algorithm),
      fault,
    };
  }

  async function load(): Promise<SigningKeySet> {
    const { fault, ...keySet } = await loadAvailable();
    if (fault !== undefined) throw fault;
    return keySet;
  }

  async function ensure(): Promise<void> {
    await load();
    await advanceSigningKeys(dependencies, (step) => 'isUrgent' in step && step.isUrgent);
  }

  async function list(): Promise<ListedSigningKey[]> {
    const keys = await readSigningKeys(dependencies.knex);
    return Promise.all(
      keys.map(async (key) => {
        const { version, sealedPrivateJwk, dataKey, publicJwk, ...shown } = key;
        return {
          ...shown,
          publicJwk: (await isPublicPartOf(key)) ? publicJwk : undefined,
          nextStep: nextStepOf(dependencies.policy, key, keys),
          successorAnnouncedAt: successorAnnouncedAt(dependencies.policy, key, keys),
        };
      }),
    );
  }

  return Object.freeze({
    ensure,
    load,
    loadAvailable,
    list,
    advance: () => advanceSigningKeys(dependencies),
    rotate: (options: { algorithm?: string | undefined; now?: boolean | undefined }) =>
      rotateSigningKeys(dependencies, options),
    revoke: (kid: string, options: { now?: boolean | undefined }) => revokeSigningKey(dependencies, kid, options),
    importKey: (text: string, options: { algorithm?: string | undefined }) =>
      importSigningKey(dependencies, text, options),
    reseal: () => resealSigningKeys(dependencies),
  });
}
