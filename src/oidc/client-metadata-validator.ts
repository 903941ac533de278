import { errors, type JWK, Provider } from 'oidc-provider';
import type { ClientMetadata, MetadataValidator } from '../clients/index.ts';
import { toProviderMetadata } from './provider-client.ts';
import { type ConfigurationInputs, providerConfiguration } from './provider-configuration.ts';

/** What the library says of client metadata, asked before they are stored: it would refuse to load what it finds invalid. */
export function createMetadataValidator(
  inputs: Omit<ConfigurationInputs, 'adapter' | 'signingKeys'> & { signingKeys(): Promise<readonly JWK[]> },
): MetadataValidator {
  return {
    async validate(metadata: ClientMetadata) {
      const provider = new Provider(inputs.config.issuer, {
        ...providerConfiguration({ ...inputs, adapter: () => unusedAdapter, signingKeys: await inputs.signingKeys() }),
        clients: [],
        adapter: () => ({ ...unusedAdapter, find: async () => toProviderMetadata({ metadata, allowedOrigins: [] }) }),
      });
      try {
        await provider.Client.find(metadata.client_id);
        return { ok: true };
      } catch (error) {
        if (error instanceof errors.InvalidClientMetadata) {
          return { ok: false, reason: error.error_description ?? error.message };
        }
        throw error;
      }
    },
  };
}

const nothing = async () => undefined;
const unusedAdapter = {
  upsert: nothing,
  find: nothing,
  findByUserCode: nothing,
  findByUid: nothing,
  consume: nothing,
  destroy: nothing,
  revokeByGrantId: nothing,
};
