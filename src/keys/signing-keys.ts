import { randomBytes } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';
import type { Knex } from 'knex';
import type { Audit } from '../audit/index.ts';
import type { Clock } from '../config/index.ts';
import { announceChange } from '../database/index.ts';
import { AppError } from '../errors.ts';
import { KEY_BYTES, UnsealError } from './authenticated-encryption.ts';
import type { KeyWrapper } from './key-wrapper.ts';
import { createSealer } from './sealer.ts';
import {
  generateSigningKey,
  publicPart,
  SIGNING_ALGORITHMS,
  type SigningAlgorithm,
  type SigningKey,
} from './signing-key.ts';
import { insertSigningKeys, lockSigningKeys, readSigningKeys, type StoredSigningKey } from './signing-key-store.ts';

/** Keys as the signer and the verifiers want them: active ones first, each with `kid`, `alg` and `use`. */
type SigningKeySet = Readonly<{ privateJwks: JWK[]; publicJwks: JWK[] }>;

export type SigningKeys = Readonly<{
  /**
   * Makes an active key for each algorithm that has none. Nodes that start at once end with one of each.
   *
   * @throws {AppError} as `load` does, before anything is written
   */
  ensure(): Promise<void>;
  /**
   * Opens every key that is not revoked.
   *
   * @throws {AppError} `configuration` when KEY_ENCRYPTION_KEY does not fit, `server_error` when a row was altered
   */
  load(): Promise<SigningKeySet>;
  /** Every key there is, revoked ones too, without private parts. */
  list(): Promise<SigningKey[]>;
}>;

/** The signing keys of all nodes on one database. */
export function createSigningKeys(dependencies: {
  knex: Knex;
  wrapper: KeyWrapper;
  clock: Clock;
  audit: Pick<Audit, 'recordWithin'>;
}): SigningKeys {
  const { knex, wrapper, clock, audit } = dependencies;

  async function openPublished(): Promise<StoredSigningKeyOpened[]> {
    const published = (await readSigningKeys(knex)).filter((key) => key.state !== 'revoked');
    return Promise.all(published.map(async (stored) => ({ stored, privateJwk: await open(wrapper, stored) })));
  }

  async function ensure(): Promise<void> {
    const opened = await openPublished();
    const missing = withoutActiveKey(opened.map(({ stored }) => stored));
    if (missing.length === 0) return;
    // Making keys takes long and a lock must be short: made outside the transaction, and thrown away where another
    // node was faster.
    const made = await Promise.all(missing.map((algorithm) => makeActive(wrapper, algorithm, new Date(clock()))));
    await knex.transaction(async (trx) => {
      await lockSigningKeys(trx);
      const stillMissing = withoutActiveKey(await readSigningKeys(trx));
      const wanted = made.filter((key) => stillMissing.includes(key.algorithm));
      if (wanted.length === 0) return;
      await insertSigningKeys(trx, wanted);
      for (const { kid, algorithm } of wanted) await audit.recordWithin(trx, { type: 'key.created', kid, algorithm });
      await announceChange(trx, 'keys');
    });
  }

  async function load(): Promise<SigningKeySet> {
    const privateJwks = (await openPublished()).map(({ privateJwk }) => privateJwk);
    // Derived from what was unsealed, not read from the table: who can write to the database can't publish a key.
    return { privateJwks, publicJwks: privateJwks.map(publicPart) };
  }

  async function list(): Promise<SigningKey[]> {
    const keys = await readSigningKeys(knex);
    return keys.map(({ kid, algorithm, state, createdAt, activatedAt, publicJwk }) => {
      return { kid, algorithm, state, createdAt, activatedAt, publicJwk };
    });
  }

  return Object.freeze({ ensure, load, list });
}

type StoredSigningKeyOpened = { stored: StoredSigningKey; privateJwk: JWK };

function withoutActiveKey(keys: readonly StoredSigningKey[]): SigningAlgorithm[] {
  const active = new Set(keys.filter((key) => key.state === 'active').map((key) => key.algorithm));
  return SIGNING_ALGORITHMS.filter((algorithm) => !active.has(algorithm));
}

async function makeActive(wrapper: KeyWrapper, algorithm: SigningAlgorithm, now: Date): Promise<StoredSigningKey> {
  const privateJwk = await generateSigningKey(algorithm);
  const { kid } = privateJwk;
  const version = 1;
  const dataKey = randomBytes(KEY_BYTES);
  const context = sealingContext(kid, version);
  return {
    kid,
    algorithm,
    state: 'active',
    version,
    createdAt: now,
    activatedAt: now,
    publicJwk: publicPart(privateJwk),
    sealedPrivateJwk: createSealer(dataKey).seal(JSON.stringify(privateJwk), context),
    dataKey: await wrapper.wrap(dataKey, context),
  };
}

async function open(wrapper: KeyWrapper, stored: StoredSigningKey): Promise<JWK> {
  const context = sealingContext(stored.kid, stored.version);
  try {
    const dataKey = await wrapper.unwrap(stored.dataKey, context);
    const privateJwk = JSON.parse(createSealer(dataKey).unseal(stored.sealedPrivateJwk, context)) as JWK;
    if ((await calculateJwkThumbprint(privateJwk)) !== stored.kid || privateJwk.alg !== stored.algorithm) {
      throw new UnsealError('a signing key is not the one that its row names');
    }
    return privateJwk;
  } catch (cause) {
    if (!(cause instanceof UnsealError)) throw cause;
    throw new AppError({
      code: 'server_error',
      message: `the signing key ${stored.kid} was altered in the database: restore the table signing_keys from a backup`,
      cause,
    });
  }
}

function sealingContext(kid: string, version: number): string {
  return `signing-key ${kid} ${version}`;
}
