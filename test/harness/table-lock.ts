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
  // Requests: what removes expired rows passes over locked ones, and is no request.
  const waiting = `from pg_locks join pg_stat_activity using (pid)
    where not granted and relation = 'artifacts'::regclass and backend_type = 'client backend'
      and query not like '%skip locked%'`;
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
