import type { Knex } from 'knex';
import type { Audit } from '../audit/index.ts';
import { algorithmsInUse, MAX_API_TTL_SECONDS } from '../clients/index.ts';
import { CLOCK_TOLERANCE_SECONDS, type Config } from '../config/index.ts';
import {
  COMMAND_PATIENCE,
  combineKeyWrappers,
  createKeyWrapper,
  createServerSecrets,
  createSigningKeys,
  createVaultKeyWrapper,
  developmentKeyEncryptionKey,
  developmentKeyPath,
  type KeyWrapper,
  type RotatingServerSecrets,
  type SigningKeys,
} from '../keys/index.ts';

export type Keys = Readonly<{
  keyWrapper: KeyWrapper;
  signingKeys: SigningKeys;
  serverSecrets: RotatingServerSecrets;
  /**
   * Opens all of them, and makes those that are missing.
   *
   * @throws {AppError} `configuration`, `temporarily_unavailable` or `server_error`, before anything is written
   */
  openKeys(): Promise<void>;
}>;

/**
 * The keys and secrets of the environment; opens none of them and makes none.
 *
 * @param dependencies.isCommand whether whoever holds the key-encryption key is waited for each time
 */
export async function composeKeys(
  config: Config,
  dependencies: { knex: Knex; audit: Pick<Audit, 'recordWithin'>; isCommand: boolean },
): Promise<Keys> {
  const { knex, audit, isCommand } = dependencies;
  const opener = await openKeyWrapper(config, { isCommand });
  let doesFit = false;
  const keyWrapper: KeyWrapper = Object.freeze({
    unwrap: opener.unwrap,
    // What is written by a process that could not open the rest might be opened by no other.
    async wrap(dataKey: Buffer, context: string) {
      if (!doesFit) await signingKeys.load();
      doesFit = true;
      return opener.wrap(dataKey, context);
    },
  });
  const sealed = { knex, audit, wrapper: keyWrapper };
  const policy = { ...config.keyPolicy, retentionSeconds: retentionSeconds(config) };
  const signingKeys = createSigningKeys({ ...sealed, policy, algorithmsInUse });
  const serverSecrets = createServerSecrets({ ...sealed, policy: serverSecretPolicy(config) });
  async function openKeys(): Promise<void> {
    // Opens what there is before any secret is made: a key-encryption key that does not fit must leave nothing behind.
    await signingKeys.load();
    await serverSecrets.ensure();
    await signingKeys.ensure();
    doesFit = true;
  }

  return { keyWrapper, signingKeys, serverSecrets, openKeys };
}

/** Vault, the keys of the environment, or both; in development without either the key of the data directory. */
async function openKeyWrapper(
  { vault, keyEncryptionKeys: given, dataDirectory }: Config,
  { isCommand }: { isCommand: boolean },
): Promise<KeyWrapper> {
  const isOfDevelopment = given === undefined && vault === undefined;
  const keyEncryptionKeys = isOfDevelopment ? [await developmentKeyEncryptionKey(dataDirectory)] : given;
  const source = isOfDevelopment
    ? `KEY_ENCRYPTION_KEY is not set, and the key in '${developmentKeyPath(dataDirectory)}'`
    : undefined;
  return combineKeyWrappers({
    local: keyEncryptionKeys && createKeyWrapper({ keyEncryptionKeys, source }),
    vault: vault && createVaultKeyWrapper(vault, isCommand ? COMMAND_PATIENCE : undefined),
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
