import type { StatementRunner } from './artifact-statements-store.ts';

/** Statements sent since the start, by name. */
export type StatementCounts = Readonly<Record<string, number>>;

/** What has no name is planned anew each time: statements of a revocation. */
const UNNAMED = 'artifacts-revoke';

/** A runner that counts what it is given. */
export function countStatements(pool: StatementRunner): { runner: StatementRunner; counts(): StatementCounts } {
  const counts: Record<string, number> = {};
  return {
    runner: {
      query(statement) {
        const name = statement.name ?? UNNAMED;
        counts[name] = (counts[name] ?? 0) + 1;
        return pool.query(statement);
      },
    },
    counts: () => ({ ...counts }),
  };
}
