import type { Knex } from 'knex';

/** What can be kept as JSON. */
type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [name: string]: JsonValue };
/** Of a job: holds nothing that grants access, unless whoever asks for the work has sealed it. */
export type JobPayload = { readonly [name: string]: JsonValue | undefined };

/** Runs a statement on any connection. */
export type StatementRunner = { executeSql(text: string, values?: unknown[]): Promise<{ rows: unknown[] }> };

type OutboxRow = { id: string; queue: string; payload: JobPayload };

/** @param trx where a job is asked for in a transaction, it is done only when that commits */
export async function insertJob(trx: Knex, queue: string, payload: JobPayload): Promise<void> {
  await trx('job_outbox').insert({ queue, payload: JSON.stringify(payload) });
}

/** The oldest that wait for these queues, `limit` at the most. */
export async function readOutbox(
  pool: StatementRunner,
  { queues, limit }: { queues: readonly string[]; limit: number },
): Promise<OutboxRow[]> {
  const { rows } = await pool.executeSql(
    'select id, queue, payload from job_outbox where queue = any($1::text[]) order by asked_at limit $2',
    [queues, limit],
  );
  return rows as OutboxRow[];
}

export async function deleteFromOutbox(pool: StatementRunner, ids: readonly string[]): Promise<void> {
  await pool.executeSql('delete from job_outbox where id = any($1::uuid[])', [ids]);
}
