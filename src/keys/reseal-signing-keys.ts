import { changeSigningKeys, type KeyDependencies } from './change-signing-keys.ts';
import { openSigningKey, sealSigningKey } from './sealed-signing-key.ts';
import { readSigningKeys } from './signing-key-store.ts';

/** Few keys are ever there; a transaction that holds the lock stays short all the same. */
const KEYS_PER_TRANSACTION = 10;

/**
 * Seals every key that is not revoked anew, under a new data key that the newest key-encryption key wraps. It may be
 * broken off and done again at any point: each key is sealed as before or anew.
 *
 * @returns how many were sealed anew
 * @throws {AppError} as loading does, before anything is written, where one of them can't be opened
 */
export async function resealSigningKeys(dependencies: KeyDependencies): Promise<number> {
  const { wrapper } = dependencies;
  const stored = (await readSigningKeys(dependencies.knex)).filter(({ state }) => state !== 'revoked');
  const opened = await Promise.all(
    stored.map(async (key) => ({ key, privateJwk: await openSigningKey(wrapper, key) })),
  );
  let count = 0;
  for (let first = 0; first < opened.length; first += KEYS_PER_TRANSACTION) {
    // Wrapped outside the transaction: that may take a request to another server.
    const sealed = await Promise.all(
      opened.slice(first, first + KEYS_PER_TRANSACTION).map(async ({ key, privateJwk }) => ({
        key,
        anew: await sealSigningKey(wrapper, privateJwk, key.version + 1),
      })),
    );
    await changeSigningKeys(dependencies, async ({ reseal }) => {
      for (const { key, anew } of sealed) if (await reseal(key, anew)) count += 1;
    });
  }
  return count;
}
