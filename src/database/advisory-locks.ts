import type { Knex } from 'knex';

/** What is done by one node at a time. Any numbers that nothing else in this database locks by. */
const LOCK_NUMBERS = {
  migrations: 7_355_608,
  signingKeys: 7_355_609,
  serverSecrets: 7_355_611,
  selfRegistrations: 7_355_612,
} as const;

type AdvisoryLock = keyof typeof LOCK_NUMBERS;

/** Waits for the lock; it is held until the transaction ends, so that it works behind a pooler. */
export async function takeAdvisoryLock(trx: Knex, lock: AdvisoryLock): Promise<void> {
  await trx.raw('select pg_advisory_xact_lock(?)', [LOCK_NUMBERS[lock]]);
}

/**
 * As `takeAdvisoryLock`, and waits for nobody. Sent without parameters: the answer to a statement that has some stays open
 * in its transaction, and `create index concurrently` waits for the end of what is open.
 *
 * @returns whether the lock is held
 */
export async function tryAdvisoryLock(trx: Knex, lock: AdvisoryLock): Promise<boolean> {
  const { rows } = await trx.raw<{ rows: { is_held: boolean }[] }>(
    `select pg_try_advisory_xact_lock(${LOCK_NUMBERS[lock]}) as is_held`,
  );
  return rows[0]?.is_held === true;
}
