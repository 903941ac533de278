import type { Knex } from 'knex';
import type { Audit } from '../audit/index.ts';
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
export async function resealServerSecrets(dependencies: {
  knex: Knex;
  wrapper: KeyWrapper;
  audit: Pick<Audit, 'recordWithin'>;
}): Promise<number> {
  const { knex, wrapper, audit } = dependencies;
  const secrets = await readServerSecrets(knex);
  // Outside the transaction: who wraps may be far away and a lock must be short.
  const rewrapped = await Promise.all(
    secrets.map(async (stored) => {
      const value = await unwrapServerSecret(wrapper, stored);
      const anew = await wrapServerSecret(wrapper, { name: stored.name, version: stored.version, value });
      return { before: stored, anew };
    }),
  );
  return knex.transaction(async (trx) => {
    await lockServerSecrets(trx);
    let count = 0;
    for (const { before, anew } of rewrapped) {
      if ((await replaceWrappedSecret(trx, before, anew)) === 0) continue;
      await audit.recordWithin(trx, { type: 'secret.resealed', name: anew.name, version: anew.version });
      count += 1;
    }
    return count;
  });
}
