/**
 * Owns the keys that the server signs with and the secrets that it keeps for itself: makes them once for all nodes, seals
 * them under the key-encryption key, opens them at start. Refuses to hand a private part to anything but the signer, to
 * store one in clear, and to write anything while the key-encryption key does not fit what is stored.
 */
export { developmentKeyEncryptionKey, developmentKeyPath } from './development-key.ts';
export { keyCheckSeconds } from './key-policy.ts';
export { createKeyWrapper, type KeyWrapper } from './key-wrapper.ts';
export {
  createServerSecrets,
  openServerSecrets,
  type RotatingServerSecrets,
  type ServerSecrets,
} from './server-secrets.ts';
export type { SigningAlgorithm } from './signing-key.ts';
export { signingAlgorithms } from './signing-key-store.ts';
export { createSigningKeys, type SigningKeys } from './signing-keys.ts';
export { combineKeyWrappers, createVaultKeyWrapper } from './vault-key-wrapper.ts';
export { COMMAND_PATIENCE } from './vault-transit.ts';
