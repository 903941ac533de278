import type { Knex } from 'knex';
import type { WrappedKey } from './key-wrapper.ts';

/** A secret of the server as it is stored: wrapped under the key-encryption key. */
export type StoredServerSecret = Readonly<{ name: string; version: number; wrappedKey: WrappedKey; createdAt: Date }>;

type ServerSecretRow = {
  name: string;
  version: number;
  wrapped_secret: string;
  key_encryption_key_id: string;
  created_at: Date;
};

/** Every secret there is; of one name the newest first. */
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
  }));
}

/**
 * Adds what is not there yet and leaves alone what is. One statement, in the order given: of two nodes that start at
 * once the second waits at the first row, so that all secrets are those of one node.
 */
export async function insertMissingServerSecrets(knex: Knex, secrets: readonly StoredServerSecret[]): Promise<void> {
  await knex<ServerSecretRow>('server_secrets')
    .insert(
      secrets.map((secret) => ({
        name: secret.name,
        version: secret.version,
        wrapped_secret: secret.wrappedKey.wrapped,
        key_encryption_key_id: secret.wrappedKey.keyEncryptionKeyId,
        created_at: secret.createdAt,
      })),
    )
    .onConflict(['name', 'version'])
    .ignore();
}
