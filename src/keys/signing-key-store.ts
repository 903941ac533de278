import type { JWK } from 'jose';
import type { Knex } from 'knex';
import { takeAdvisoryLock } from '../database/index.ts';
import type { SealedPrivateKey } from './sealed-signing-key.ts';
import type { SigningAlgorithm, SigningKey, SigningKeyState } from './signing-key.ts';

/** A signing key as it is stored. */
export type StoredSigningKey = SigningKey & SealedPrivateKey;
export type NewSigningKey = SealedPrivateKey & Pick<SigningKey, 'kid' | 'algorithm' | 'publicJwk'>;

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
  announced_at: Date;
  activated_at: Date | null;
  retired_at: Date | null;
  revoked_at: Date | null;
};

/** Waits until no other node changes signing keys: whoever holds the lock decides which there are, until `trx` ends. */
export function lockSigningKeys(trx: Knex): Promise<void> {
  return takeAdvisoryLock(trx, 'signingKeys');
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
    announcedAt: row.announced_at,
    activatedAt: row.activated_at ?? undefined,
    retiredAt: row.retired_at ?? undefined,
    revokedAt: row.revoked_at ?? undefined,
    publicJwk: row.public_jwk,
    sealedPrivateJwk: row.sealed_private_jwk,
    dataKey: { keyEncryptionKeyId: row.key_encryption_key_id, wrapped: row.wrapped_data_key },
  }));
}

/** The algorithms that a key signs with at the moment. Opens none. */
export async function signingAlgorithms(knex: Knex): Promise<SigningAlgorithm[]> {
  return knex<SigningKeyRow>('signing_keys').where({ state: 'active' }).pluck('algorithm');
}

/** Adds a key that is published from `at` on; the caller holds the lock. */
export async function insertSigningKey(
  trx: Knex,
  key: NewSigningKey,
  { state, at }: { state: 'next' | 'active'; at: Date },
): Promise<void> {
  await trx<SigningKeyRow>('signing_keys').insert({
    kid: key.kid,
    algorithm: key.algorithm,
    state,
    public_jwk: key.publicJwk,
    created_at: at,
    announced_at: at,
    activated_at: state === 'active' ? at : null,
    ...sealedColumns(key),
  });
}

/** The key enters a state at a time; the caller holds the lock. */
export async function setSigningKeyState(
  trx: Knex,
  kid: string,
  { state, at }: { state: 'active' | 'retired'; at: Date },
): Promise<void> {
  const times = state === 'active' ? { activated_at: at } : { retired_at: at };
  await trx<SigningKeyRow>('signing_keys')
    .where({ kid })
    .update({ state, ...times });
}

/** Leaves nothing of the key but its name, so that it never comes back, and its public part; the caller holds the lock. */
export async function eraseSigningKey(trx: Knex, kid: string, at: Date): Promise<void> {
  await trx<SigningKeyRow>('signing_keys')
    .where({ kid })
    .update({ state: 'revoked', revoked_at: at, sealed_private_jwk: '', wrapped_data_key: '' });
}

export async function deleteSigningKey(trx: Knex, kid: string): Promise<void> {
  await trx<SigningKeyRow>('signing_keys').where({ kid }).delete();
}

/** Writes a key that was sealed anew over the version before it; the caller holds the lock. @returns whether it was that */
export async function replaceSealedKey(trx: Knex, kid: string, sealed: SealedPrivateKey): Promise<boolean> {
  const updated = await trx<SigningKeyRow>('signing_keys')
    .where({ kid, version: sealed.version - 1 })
    .whereNot({ state: 'revoked' })
    .update(sealedColumns(sealed));
  return updated > 0;
}

function sealedColumns(sealed: SealedPrivateKey) {
  return {
    version: sealed.version,
    sealed_private_jwk: sealed.sealedPrivateJwk,
    wrapped_data_key: sealed.dataKey.wrapped,
    key_encryption_key_id: sealed.dataKey.keyEncryptionKeyId,
  };
}
