import type { Knex } from 'knex';
import type { Audit } from '../audit/index.ts';
import { announceChange, databaseTime } from '../database/index.ts';
import type { KeyWrapper } from './key-wrapper.ts';
import { makeServerSecret, type RotatingSecretName } from './server-secret.ts';
import { type DueSecretSteps, dueSecretSteps, type ServerSecretPolicy } from './server-secret-policy.ts';
import {
  announceServerSecret,
  deleteServerSecret,
  lockServerSecrets,
  type NewServerSecret,
  promoteServerSecret,
  readServerSecrets,
} from './server-secret-store.ts';

type Dependencies = Readonly<{ knex: Knex; wrapper: KeyWrapper; audit: Pick<Audit, 'recordWithin'> }>;
type NewRotatingSecret = NewServerSecret & Readonly<{ name: RotatingSecretName }>;
type Policies = ReadonlyMap<RotatingSecretName, ServerSecretPolicy>;

/**
 * Does what is due, once, whatever number of nodes ask at the same time. What takes over and what goes comes first, in a
 * transaction of its own: it needs nobody who holds a key-encryption key, so that it is done while Vault is away.
 *
 * @throws what the wrapper throws, when a version that is due can't be made
 */
export async function advanceServerSecrets(dependencies: Dependencies, policies: Policies): Promise<void> {
  const { knex, wrapper, audit } = dependencies;
  const due = await readDueSteps(knex, policies);
  if ([...due.values()].some(({ promote, remove }) => promote !== undefined || remove.length > 0)) {
    await knex.transaction((trx) => promoteAndRemove(trx, policies, audit));
  }
  // Whoever wraps may be far away and a lock must be short: made outside the transaction, and thrown away where another
  // node was faster.
  const made: NewRotatingSecret[] = [];
  for (const [name, { announce }] of due) {
    if (announce !== undefined) made.push({ ...(await makeServerSecret(wrapper, name, announce)), name });
  }
  if (made.length > 0) await knex.transaction((trx) => announceAll(trx, policies, audit, made));
}

async function promoteAndRemove(trx: Knex, policies: Policies, audit: Dependencies['audit']): Promise<void> {
  await lockServerSecrets(trx);
  let isChanged = false;
  for (const [name, { promote, remove }] of await readDueSteps(trx, policies)) {
    if (promote !== undefined) {
      await promoteServerSecret(trx, name, promote);
      await audit.recordWithin(trx, { type: 'secret.rotated', name, version: promote });
    }
    for (const version of remove) {
      await deleteServerSecret(trx, name, version);
      await audit.recordWithin(trx, { type: 'secret.removed', name, version });
    }
    isChanged ||= promote !== undefined || remove.length > 0;
  }
  if (isChanged) await announceChange(trx, 'keys');
}

async function announceAll(
  trx: Knex,
  policies: Policies,
  audit: Dependencies['audit'],
  made: readonly NewRotatingSecret[],
): Promise<void> {
  await lockServerSecrets(trx);
  const due = await readDueSteps(trx, policies);
  const wanted = made.filter(({ name, version }) => due.get(name)?.announce === version);
  for (const secret of wanted) {
    await announceServerSecret(trx, secret);
    await audit.recordWithin(trx, { type: 'secret.announced', name: secret.name, version: secret.version });
  }
  if (wanted.length > 0) await announceChange(trx, 'keys');
}

async function readDueSteps(knex: Knex, policies: Policies): Promise<Map<RotatingSecretName, DueSecretSteps>> {
  const now = await databaseTime(knex);
  const byName = Map.groupBy(await readServerSecrets(knex), ({ name }) => name);
  return new Map(
    [...policies].map(([name, policy]) => [name, dueSecretSteps(byName.get(name) ?? [], policy, now)] as const),
  );
}
