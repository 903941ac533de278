import type { JWK } from 'jose';
import type { Knex } from 'knex';
import type { WrappedKey } from './key-wrapper.ts';
import type { SigningAlgorithm, SigningKey, SigningKeyState } from './signing-key.ts';

/** A signing key as it is stored: the private part sealed under a data key of its own, the data key wrapped. */
export type StoredSigningKey = SigningKey &
  Readonly<{
    /** Counted up when the key is sealed anew, and bound into what is sealed. */
    version: number;
    sealedPrivateJwk: string;
    dataKey: WrappedKey;
  }>;

type SigningKeyRow = {
  kid: string;
  algorithm: SigningAlgorithm;
  state: SigningKeyState;
  version: number;
  public_jwk: JWK;
  sealed_private_jwk: string;
  wrapped_data_key: string;
  key_encryption_key_id: string;
  created_at: Date;
  activated_at: Date | null;
};

/** Any number that nothing else in this database locks by: whoever holds it decides which keys there are. */
const SIGNING_KEYS_LOCK = 7_355_609;

/** Waits until no other node changes signing keys; held until the transaction ends, so that it works behind a pooler. */
export async function lockSigningKeys(trx: Knex): Promise<void> {
  await trx.raw('select pg_advisory_xact_lock(?)', [SIGNING_KEYS_LOCK]);
}

/** Every signing key there is: active ones first, then those to come, then retired and revoked ones, newest first. */
export async function readSigningKeys(knex: Knex): Promise<StoredSigningKey[]> {
  const rows = await knex<SigningKeyRow>('signing_keys').orderByRaw(
    `array_position(array['active', 'next', 'retired', 'revoked'], state), created_at desc, algorithm desc, kid`,
  );
  return rows.map((row) => ({
    kid: row.kid,
    algorithm: row.algorithm,
    state: row.state,
    version: row.version,
    createdAt: row.created_at,
    activatedAt: row.activated_at ?? undefined,
    publicJwk: row.public_jwk,
    sealedPrivateJwk: row.sealed_private_jwk,
    dataKey: { keyEncryptionKeyId: row.key_encryption_key_id, wrapped: row.wrapped_data_key },
  }));
}

/** Adds signing keys; the caller holds the lock. */
export async function insertSigningKeys(trx: Knex, keys: readonly StoredSigningKey[]): Promise<void> {
  await trx<SigningKeyRow>('signing_keys').insert(
    keys.map((key) => ({
      kid: key.kid,
      algorithm: key.algorithm,
      state: key.state,
      version: key.version,
      public_jwk: key.publicJwk,
      sealed_private_jwk: key.sealedPrivateJwk,
      wrapped_data_key: key.dataKey.wrapped,
      key_encryption_key_id: key.dataKey.keyEncryptionKeyId,
      created_at: key.createdAt,
      activated_at: key.activatedAt ?? null,
    })),
  );
}
