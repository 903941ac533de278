import { randomBytes } from 'node:crypto';
import type { VaultSettings } from '../../src/keys/vault-transit.ts';
import { openVaultStandIn, type VaultStandIn } from './vault-stand-in.ts';

/** A real Vault or OpenBao with a token that may do everything, to hold the suite against; else a stand-in is used. */
const ADDRESS_VARIABLE = 'VAULT_TEST_ADDR';
const TOKEN_VARIABLE = 'VAULT_TEST_TOKEN';
const MOUNT = 'transit';

/** Vault as its operator has it. */
export type TestVault = {
  address: string;
  /** May do everything. */
  rootToken: string;
  /** What only a stand-in lets a test do; undefined for a real one. */
  standIn: VaultStandIn | undefined;
  /** Makes a key, and a token that may encrypt and decrypt with it and do nothing else. */
  createKey(type?: 'aes256-gcm96' | 'chacha20-poly1305' | 'rsa-2048'): Promise<VaultSettings>;
  rotateKey(key: string): Promise<void>;
  deleteKey(key: string): Promise<void>;
  revokeToken(token: string): Promise<void>;
  close(): Promise<void>;
};

/** @param options.isStandIn where a test needs faults that a real one can't be told to have */
export async function openTestVault(options: { isStandIn?: boolean } = {}): Promise<TestVault> {
  const realAddress = options.isStandIn ? undefined : process.env[ADDRESS_VARIABLE];
  const standIn = realAddress === undefined ? await openVaultStandIn() : undefined;
  const address = realAddress ?? standIn?.address ?? '';
  const rootToken = standIn?.rootToken ?? process.env[TOKEN_VARIABLE] ?? '';

  async function call(method: string, path: string, body: object = {}): Promise<Record<string, unknown>> {
    const response = await fetch(`${address}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': rootToken, 'content-type': 'application/json' },
      ...(method === 'DELETE' ? undefined : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? {} : JSON.parse(text);
  }

  await call('POST', `sys/mounts/${MOUNT}`, { type: 'transit' }).catch((error: Error) => {
    if (!error.message.includes('already in use')) throw error;
  });

  return {
    address,
    rootToken,
    standIn,
    async createKey(type = 'aes256-gcm96') {
      const key = `tessera-${randomBytes(6).toString('hex')}`;
      await call('POST', `${MOUNT}/keys/${key}`, { type });
      // Never `create`: Vault would make a key that is missing, and what it had sealed would be lost unnoticed.
      const policy = ['encrypt', 'decrypt']
        .map((operation) => `path "${MOUNT}/${operation}/${key}" { capabilities = ["update"] }`)
        .join('\n');
      await call('PUT', `sys/policies/acl/${key}`, { policy });
      const { auth } = await call('POST', 'auth/token/create', { policies: [key], ttl: '10m' });
      const token = (auth as { client_token: string }).client_token;
      return { address, token, namespace: undefined, mount: MOUNT, key };
    },
    async rotateKey(key) {
      await call('POST', `${MOUNT}/keys/${key}/rotate`);
    },
    async deleteKey(key) {
      await call('POST', `${MOUNT}/keys/${key}/config`, { deletion_allowed: true });
      await call('DELETE', `${MOUNT}/keys/${key}`);
    },
    async revokeToken(token) {
      await call('POST', 'auth/token/revoke', { token });
    },
    async close() {
      await standIn?.close();
    },
  };
}
