import type { Knex } from 'knex';
import { takeAdvisoryLock } from '../database/index.ts';
import type { WrappedKey } from './key-wrapper.ts';
import type { ServerSecretVersion } from './server-secret-policy.ts';

/** A version of a secret of the server as it is stored: wrapped under the key-encryption key. */
export type StoredServerSecret = ServerSecretVersion & Readonly<{ wrappedKey: WrappedKey }>;

/** A version that is about to be stored; the database says when. */
export type NewServerSecret = Pick<StoredServerSecret, 'name' | 'version' | 'wrappedKey'>;

type ServerSecretRow = {
  name: string;
  version: number;
  wrapped_secret: string;
  key_encryption_key_id: string;
  created_at: Date;
  activated_at: Date | null;
  retired_at: Date | null;
};

/** Waits until no other node changes versions: whoever holds the lock decides which there are, until `trx` ends. */
export function lockServerSecrets(trx: Knex): Promise<void> {
  return takeAdvisoryLock(trx, 'serverSecrets');
}

/** Every version of every secret; of one name the newest first. */
export async function readServerSecrets(knex: Knex): Promise<StoredServerSecret[]> {
  const rows = await knex<ServerSecretRow>('server_secrets').orderBy([
    { column: 'name' },
    { column: 'version', order: 'desc' },
  ]);
  return rows.map((row) => ({
    name: row.name,
    version: row.version,
    wrappedKey: { keyEncryptionKeyId: row.key_encryption_key_id, wrapped: row.wrapped_secret },
    createdAt: row.created_at,
    activatedAt: row.activated_at ?? undefined,
    retiredAt: row.retired_at ?? undefined,
  }));
}

/** Adds what is not there yet, in use from now on, and leaves alone what is; the caller holds the lock. */
export async function insertMissingServerSecrets(trx: Knex, secrets: readonly NewServerSecret[]): Promise<void> {
  const now = trx.raw('clock_timestamp()');
  await trx('server_secrets')
    .insert(secrets.map((secret) => ({ ...toColumns(secret), created_at: now, activated_at: now })))
    .onConflict(['name', 'version'])
    .ignore();
}

/** Adds a version that is not in use yet; the caller holds the lock. */
export async function announceServerSecret(trx: Knex, secret: NewServerSecret): Promise<void> {
  await trx('server_secrets').insert({ ...toColumns(secret), created_at: trx.raw('clock_timestamp()') });
}

/** Puts the version `next` of a secret in the place of the one in use; the caller holds the lock. */
export async function promoteServerSecret(trx: Knex, name: string, next: number): Promise<void> {
  const now = trx.raw('clock_timestamp()');
  await trx('server_secrets')
    .where({ name })
    .whereNotNull('activated_at')
    .whereNull('retired_at')
    .update({ retired_at: now });
  await trx('server_secrets').where({ name, version: next }).update({ activated_at: now });
}

/** Removes one version for ever; the caller holds the lock. */
export async function deleteServerSecret(trx: Knex, name: string, version: number): Promise<void> {
  await trx('server_secrets').where({ name, version }).delete();
}

/**
 * Puts another wrapping of the same value in the place of the one before, if that is still there; the caller holds the lock.
 *
 * @returns how many rows: one or none
 */
export async function replaceWrappedSecret(trx: Knex, before: NewServerSecret, anew: NewServerSecret): Promise<number> {
  return trx('server_secrets').where(toColumns(before)).update(toColumns(anew));
}

function toColumns({ name, version, wrappedKey }: NewServerSecret) {
  return { name, version, wrapped_secret: wrappedKey.wrapped, key_encryption_key_id: wrappedKey.keyEncryptionKeyId };
}
