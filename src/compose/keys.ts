import type { Knex } from 'knex';
import type { Audit } from '../audit/index.ts';
import { algorithmsInUse, MAX_API_TTL_SECONDS } from '../clients/index.ts';
import { CLOCK_TOLERANCE_SECONDS, type Config } from '../config/index.ts';
import {
  combineKeyWrappers,
  createKeyWrapper,
  createServerSecrets,
  createSigningKeys,
  createVaultKeyWrapper,
  developmentKeyEncryptionKey,
  type KeyWrapper,
  type RotatingServerSecrets,
  type SigningKeys,
} from '../keys/index.ts';

export type Keys = Readonly<{
  keyWrapper: KeyWrapper;
  signingKeys: SigningKeys;
  serverSecrets: RotatingServerSecrets;
}>;

/** The keys and secrets of the environment; opens none of them and makes none. */
export async function composeKeys(
  config: Config,
  dependencies: { knex: Knex; audit: Pick<Audit, 'recordWithin'> },
): Promise<Keys> {
  const keyWrapper = await openKeyWrapper(config);
  const sealed = { ...dependencies, wrapper: keyWrapper };
  const policy = { ...config.keyPolicy, retentionSeconds: retentionSeconds(config) };
  const signingKeys = createSigningKeys({ ...sealed, policy, algorithmsInUse });
  const serverSecrets = createServerSecrets({ ...sealed, policy: serverSecretPolicy(config) });
  return { keyWrapper, signingKeys, serverSecrets };
}

/** Vault, the keys of the environment, or both; in development without either the key of the data directory. */
async function openKeyWrapper({ vault, keyEncryptionKeys: given, dataDirectory }: Config): Promise<KeyWrapper> {
  const keyEncryptionKeys =
    given ?? (vault === undefined ? [await developmentKeyEncryptionKey(dataDirectory)] : undefined);
  return combineKeyWrappers({
    local: keyEncryptionKeys && createKeyWrapper({ keyEncryptionKeys }),
    vault: vault && createVaultKeyWrapper(vault),
    vaultSeals: vault?.seals ?? false,
  });
}

/** What a key has signed at its last moment has to verify to its end; a session ends with its ID token as the hint. */
function retentionSeconds({ lifetimes }: Config): number {
  const { sessionSeconds, idTokenSeconds, accessTokenSeconds } = lifetimes;
  return Math.max(sessionSeconds, idTokenSeconds, accessTokenSeconds, MAX_API_TTL_SECONDS) + CLOCK_TOLERANCE_SECONDS;
}

function serverSecretPolicy({ keyPolicy, lifetimes, cookieKeys }: Config) {
  const { rotationSeconds, announceSeconds } = keyPolicy;
  const longestCookieSeconds = Math.max(lifetimes.sessionSeconds, lifetimes.interactionSeconds);
  return { rotationSeconds, announceSeconds, longestCookieSeconds, rotatesCookieKeys: cookieKeys === undefined };
}
