import { type ChangeFeed, type Database, migrationStatus, ping, takesChanges } from '../database/index.ts';
import type { HealthCheck } from './health.ts';

/** A migration is applied now and then, not every second. */
const SCHEMA_BELIEVED_FOR_MS = 60_000;

/** What a node that answers requests depends on. */
export function healthChecks(dependencies: {
  database: Database;
  changes: Pick<ChangeFeed, 'isListening' | 'failingTopics'>;
}): HealthCheck[] {
  const { database, changes } = dependencies;
  let failingTopics: readonly string[] = [];
  return [
    {
      name: 'database',
      reason: 'the database does not answer',
      check: async () => {
        await ping(database);
        return true;
      },
    },
    {
      name: 'changeable',
      reason: 'the database takes no changes: it is read-only, a standby, or away',
      check: () => takesChanges(database),
    },
    {
      name: 'schema',
      reason: 'database migrations are pending, or can’t be told',
      believedForMs: SCHEMA_BELIEVED_FOR_MS,
      check: async () => (await migrationStatus(database.knex)).pending.length === 0,
    },
    {
      name: 'changes',
      reason: 'changes on other nodes are seen late: the connection that listens for them is down',
      isWarning: true,
      check: () => changes.isListening(),
    },
    {
      name: 'taking_over',
      reason: () => `changes can’t be taken over here (${failingTopics.join(', ')}): the log of this node says why`,
      isWarning: true,
      check() {
        failingTopics = changes.failingTopics();
        return failingTopics.length === 0;
      },
    },
  ];
}
