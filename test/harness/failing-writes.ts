import type pg from 'pg';

/** A statement on artifacts that fails, for rows of which `when` (SQL on OLD and NEW) holds. */
export type FailingWrite = Readonly<{ before: 'insert' | 'update' | 'delete'; when: string }>;

/** What buries a grant: it is kept, as ended. */
export const BURIAL: FailingWrite = { before: 'update', when: `new.kind = 'Grant'` };

/** Runs `work` while these writes are refused by PostgreSQL, as where its disk is full. */
export async function whileWritesFail<T>(
  pool: pg.Pool,
  writes: readonly FailingWrite[],
  work: () => Promise<T>,
): Promise<T> {
  const triggers = writes.map(
    ({ before, when }, index) => `create trigger disk_full_${index} before ${before} on artifacts
      for each row when (${when}) execute function disk_full()`,
  );
  await pool.query(`
    create function disk_full() returns trigger language plpgsql as $$
      begin raise 'no space left on device' using errcode = 'disk_full'; end $$;
    ${triggers.join(';')}`);
  try {
    return await work();
  } finally {
    await pool.query('drop function disk_full cascade');
  }
}
