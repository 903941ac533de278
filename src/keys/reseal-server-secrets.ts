import type { Knex } from 'knex';
import type { KeyWrapper } from './key-wrapper.ts';
import { unwrapServerSecret, wrapServerSecret } from './server-secret.ts';
import { lockServerSecrets, readServerSecrets, replaceWrappedSecret } from './server-secret-store.ts';

/**
 * Wraps every server secret anew, under the key-encryption key that wraps now. All or none: where one does not open,
 * nothing is written. Running nodes need not know: the secrets themselves stay the same.
 *
 * @returns how many
 * @throws {AppError} as the wrapper does; `server_error` where a row was altered
 */
export async function resealServerSecrets({ knex, wrapper }: { knex: Knex; wrapper: KeyWrapper }): Promise<number> {
  return knex.transaction(async (trx) => {
    await lockServerSecrets(trx);
    const secrets = await readServerSecrets(trx);
    const rewrapped = await Promise.all(
      secrets.map(async (stored) => {
        const value = await unwrapServerSecret(wrapper, stored);
        return wrapServerSecret(wrapper, { name: stored.name, version: stored.version, value });
      }),
    );
    for (const secret of rewrapped) await replaceWrappedSecret(trx, secret);
    return rewrapped.length;
  });
}
