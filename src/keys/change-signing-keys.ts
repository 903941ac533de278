import type { Knex } from 'knex';
import type { Audit, AuditEvent } from '../audit/index.ts';
import { announceChange, databaseTime } from '../database/index.ts';
import type { KeyPolicy, KeysAt } from './key-policy.ts';
import type { KeyWrapper } from './key-wrapper.ts';
import { type SealedPrivateKey, sealSigningKey } from './sealed-signing-key.ts';
import { generateSigningKey, type PrivateJwk, publicPart, type SigningAlgorithm } from './signing-key.ts';
import {
  deleteSigningKey,
  eraseSigningKey,
  insertSigningKey,
  lockSigningKeys,
  type NewSigningKey,
  readSigningKeys,
  replaceSealedKey,
  type StoredSigningKey,
  setSigningKeyState,
} from './signing-key-store.ts';

/** What every change of the signing keys needs. */
export type KeyDependencies = Readonly<{
  knex: Knex;
  wrapper: KeyWrapper;
  policy: KeyPolicy;
  audit: { recordWithin(trx: Knex, event: AuditEvent): ReturnType<Audit['recordWithin']> };
  /** Algorithms that clients and APIs are registered for. */
  algorithmsInUse(knex: Knex): Promise<readonly string[]>;
}>;

/** The keys, and the time by the one clock that all nodes share: the database's. Those of nodes may be far apart. */
export type StoredKeysAt = Omit<KeysAt, 'keys'> & Readonly<{ keys: readonly StoredSigningKey[] }>;

/** What can be done to keys, each with its audit event, in one transaction. */
export type KeyChange = StoredKeysAt &
  Readonly<{
    add(key: NewSigningKey, state: 'next' | 'active', how?: 'created' | 'imported'): Promise<void>;
    /** The key signs from now on; the one that did before is retired. */
    promote(next: StoredSigningKey): Promise<void>;
    retire(key: StoredSigningKey): Promise<void>;
    /** Leaves /jwks and never comes back. */
    revoke(key: StoredSigningKey): Promise<void>;
    remove(key: StoredSigningKey): Promise<void>;
    /** @returns false where the key was sealed anew or revoked since it was read: then nothing is written */
    reseal(key: StoredSigningKey, anew: SealedPrivateKey): Promise<boolean>;
  }>;

/** Everything as it is at this moment. */
export async function readKeysAt({ knex, algorithmsInUse }: KeyDependencies): Promise<StoredKeysAt> {
  const inUse = new Set(await algorithmsInUse(knex));
  return { inUse, keys: await readSigningKeys(knex), now: await databaseTime(knex) };
}

/**
 * Changes keys alone among all nodes, in one transaction that tells the others of it where anything was changed. Keys
 * are made before it, as that takes long and a lock must be short; `work` looks again at what is wanted.
 */
export async function changeSigningKeys<T>(
  dependencies: KeyDependencies,
  work: (change: KeyChange) => Promise<T>,
): Promise<T> {
  // Before the lock, as it looks at every client. What is not offered any more nobody can be registered for meanwhile.
  const inUse = new Set(await dependencies.algorithmsInUse(dependencies.knex));
  return dependencies.knex.transaction(async (trx) => {
    await lockSigningKeys(trx);
    const keys = await readSigningKeys(trx);
    const at = await databaseTime(trx);
    let isChanged = false;

    async function record(type: KeyEvent['type'], { kid, algorithm }: Pick<NewSigningKey, 'kid' | 'algorithm'>) {
      isChanged = true;
      await dependencies.audit.recordWithin(trx, { type, kid, algorithm });
    }

    async function retire(key: StoredSigningKey): Promise<void> {
      await setSigningKeyState(trx, key.kid, { state: 'retired', at });
      await record('key.retired', key);
    }

    const result = await work({
      keys,
      inUse,
      now: at,
      async add(key, keyState, how = 'created') {
        await insertSigningKey(trx, key, { state: keyState, at });
        await record(`key.${how}`, key);
      },
      async promote(next) {
        const before = await readSigningKeys(trx);
        const active = before.find((key) => key.algorithm === next.algorithm && key.state === 'active');
        if (active !== undefined) await retire(active);
        await setSigningKeyState(trx, next.kid, { state: 'active', at });
        await record('key.activated', next);
      },
      retire,
      async revoke(key) {
        await eraseSigningKey(trx, key.kid, at);
        await record('key.revoked', key);
      },
      async remove(key) {
        await deleteSigningKey(trx, key.kid);
        await record('key.removed', key);
      },
      async reseal(key, anew) {
        if (!(await replaceSealedKey(trx, key.kid, anew))) return false;
        await record('key.resealed', key);
        return true;
      },
    });
    if (isChanged) await announceChange(trx, 'keys');
    return result;
  });
}

type KeyEvent = Extract<AuditEvent, { kid: string }>;

/** Makes a key that is in no table yet. Slow: up to a second for RSA. */
export async function makeSigningKey(
  dependencies: KeyDependencies,
  algorithm: SigningAlgorithm,
): Promise<NewSigningKey> {
  return sealNewKey(dependencies, await generateSigningKey(algorithm), algorithm);
}

export async function sealNewKey(
  { wrapper }: Pick<KeyDependencies, 'wrapper'>,
  privateJwk: PrivateJwk,
  algorithm: SigningAlgorithm,
): Promise<NewSigningKey> {
  const sealed = await sealSigningKey(wrapper, privateJwk, 1);
  return { kid: privateJwk.kid, algorithm, publicJwk: publicPart(privateJwk), ...sealed };
}
