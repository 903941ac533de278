import { AppError } from '../errors.ts';
import type { KeyWrapper, WrappedKey } from './key-wrapper.ts';
import { createVaultTransit, type VaultPatience, type VaultSettings } from './vault-transit.ts';

const PREFIX = 'vault:';

/**
 * Wraps with a key of HashiCorp Vault's transit engine (or OpenBao's). Versions of that key are Vault's own affair: they
 * stand in what it returns, and it opens all that its `min_decryption_version` lets it.
 *
 * @throws {AppError} `configuration` where the token can't be sent; the wrapper's promises, as `createVaultTransit` says
 */
export function createVaultKeyWrapper(settings: VaultSettings, patience?: VaultPatience): KeyWrapper {
  const transit = createVaultTransit(settings, patience);
  const keyEncryptionKeyId = `${PREFIX}${settings.mount}/${settings.key}`;
  return Object.freeze({
    async wrap(dataKey: Buffer, context: string) {
      return { keyEncryptionKeyId, wrapped: await transit.encrypt(dataKey, context) };
    },
    async unwrap(wrappedKey: WrappedKey, context: string) {
      // The name comes from the database: it must not choose which of Vault's keys is used.
      if (wrappedKey.keyEncryptionKeyId !== keyEncryptionKeyId) {
        throw missing('VAULT_TRANSIT_KEY does not fit', wrappedKey, `, given is ${keyEncryptionKeyId}`);
      }
      return transit.decrypt(wrappedKey.wrapped, context);
    },
  });
}

/**
 * Opens what Vault and the keys of this process have wrapped, each its own, so that one can take over from the other.
 *
 * @param options.vaultSeals whether Vault wraps what is new, where both are given
 */
export function combineKeyWrappers(options: {
  local: KeyWrapper | undefined;
  vault: KeyWrapper | undefined;
  vaultSeals: boolean;
}): KeyWrapper {
  const { local, vault } = options;
  const sealing = options.vaultSeals ? (vault ?? local) : (local ?? vault);
  if (sealing === undefined) {
    throw new AppError({
      code: 'configuration',
      message: 'KEY_ENCRYPTION_KEY wants a value where VAULT_ADDR has none',
    });
  }
  return Object.freeze({
    wrap: sealing.wrap,
    async unwrap(wrappedKey: WrappedKey, context: string) {
      if (wrappedKey.keyEncryptionKeyId.startsWith(PREFIX)) {
        if (vault === undefined) throw missing('VAULT_ADDR is not set and does not fit', wrappedKey);
        return vault.unwrap(wrappedKey, context);
      }
      if (local === undefined) throw missing('KEY_ENCRYPTION_KEY is not set and does not fit', wrappedKey);
      return local.unwrap(wrappedKey, context);
    },
  });
}

function missing(what: string, { keyEncryptionKeyId }: WrappedKey, given = ''): AppError {
  return new AppError({
    code: 'configuration',
    message:
      `${what} this database: its keys are sealed under ${keyEncryptionKeyId}${given}; ` +
      'nothing was changed, start again with what sealed them',
  });
}
