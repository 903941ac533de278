import { errors } from 'oidc-provider';
import { type ClientMetadata, type MetadataValidator, TOKEN_EXCHANGE } from '../clients/index.ts';
import { GrantProvider } from './grant-handlers.ts';
import { serverProfileFault } from './profile-features.ts';
import { toProviderMetadata } from './provider-client.ts';
import { type ConfigurationInputs, type ProviderPages, providerConfiguration } from './provider-configuration.ts';

/** Everything but what stores and shows, and who calls: a check has nothing to do with any of them. */
type ValidationInputs = Omit<ConfigurationInputs, 'adapter' | 'clients' | 'pages'>;

/**
 * What the library says of client metadata, asked before they are stored: it would refuse to load what it finds invalid.
 *
 * @param inputs asked at every check, because it hangs on the scopes and keys of the moment
 */
export function createMetadataValidator(inputs: () => Promise<ValidationInputs>): MetadataValidator {
  return {
    async validate(metadata: ClientMetadata) {
      const current = await inputs();
      for (const member of CALLED_BY_US) {
        if (!metadata[member]?.startsWith('http:') || current.config.outbound.allowsHttp) continue;
        return { ok: false, reason: `${member}: wants https in production, where nothing else is called` };
      }
      const unmet = serverProfileFault(current.config, metadata);
      if (unmet !== undefined) return { ok: false, reason: unmet };
      // As they will come back from the database: without members that are undefined, and of plain objects alone.
      const stored = JSON.parse(JSON.stringify(metadata)) as ClientMetadata;
      const found = toProviderMetadata({ metadata: stored, allowedOrigins: [] });
      const adapter = () => ({ ...unused, find: async () => found });
      const provider = new GrantProvider(
        current.config.issuer,
        providerConfiguration({ ...current, isRegistering: true, adapter, clients: noCallers, pages: noPages }),
      );
      provider.registerGrantType(TOKEN_EXCHANGE, () => undefined);
      try {
        await provider.Client.find(metadata.client_id);
        return { ok: true };
      } catch (error) {
        if (!(error instanceof errors.InvalidClientMetadata)) throw error;
        return { ok: false, reason: error.error_description ?? error.message };
      }
    },
  };
}

/** Addresses that this server calls. */
const CALLED_BY_US = ['jwks_uri', 'backchannel_logout_uri'] as const;

const nothing = async () => undefined;
const unused = {
  upsert: nothing,
  find: nothing,
  findByUserCode: nothing,
  findByUid: nothing,
  consume: nothing,
  destroy: nothing,
  revokeByGrantId: nothing,
};
const noCallers = { find: nothing, verifySecret: async () => false, apiKeyOf: () => undefined };
const noPages: ProviderPages = {
  locales: [],
  error: () => undefined,
  signOut: () => undefined,
  signedOut: () => undefined,
  userCode: () => undefined,
  confirmDevice: nothing,
  deviceDone: nothing,
};
