/**
 * Owns the connection to PostgreSQL: pools, the embedded server, migrations, the feed of changes between nodes, and what is
 * private in DATA_DIR. Refuses to know any table but its own `revisions`: rows belong to the rooms that write them.
 */
export { takeAdvisoryLock } from './advisory-locks.ts';
export { createChangeCache } from './change-cache.ts';
export {
  announceChange,
  type ChangeFeed,
  createChangeFeed,
} from './change-feed.ts';
export { type Database, openDatabase } from './database.ts';
export { describeDatabaseFault, isDatabaseRefusal, isDatabaseUnavailable } from './database-faults.ts';
export { ensureSchema } from './ensure-schema.ts';
export { migrateDown, migrateUp, migrationSettings, migrationStatus } from './migrate.ts';
export { oneAtATime } from './one-at-a-time.ts';
export { createPrivateFile, ensureDataDirectory } from './private-files.ts';
export { assertSupportedServer, databaseTime, ping, serverVersion, takesChanges } from './server-facts.ts';
export { openWorkPool } from './work-pool.ts';
