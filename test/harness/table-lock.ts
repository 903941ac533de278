import pg from 'pg';

export type TableLock = {
  /** How many statements wait for it. */
  waiters(): Promise<number>;
  /** Ends the connections of those that wait, as an operator or a dying PostgreSQL does. */
  endWaiters(): Promise<void>;
  release(): Promise<void>;
};

/** Nobody can read or write artifacts as long as it lasts: what arrives meanwhile waits, in the database or before it. */
export async function lockArtifacts(databaseUrl: string): Promise<TableLock> {
  const locker = new pg.Client({ connectionString: databaseUrl });
  await locker.connect();
  await locker.query('begin');
  await locker.query('lock table artifacts in access exclusive mode');
  const waiting = `from pg_locks where not granted and relation = 'artifacts'::regclass`;
  return {
    async waiters() {
      return (await locker.query(`select 1 ${waiting}`)).rows.length;
    },
    async endWaiters() {
      await locker.query(`select pg_terminate_backend(pid) ${waiting}`);
    },
    release: () => locker.end(),
  };
}
