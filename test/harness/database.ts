import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type Database, migrateUp, openDatabase } from '../../src/database/index.ts';
import { silentLogger } from './loggers.ts';

/** Set by the global setup, or by hand to use a PostgreSQL that is running already. */
const SERVER_URL_VARIABLE = 'TEST_DATABASE_URL';

export type TestDatabase = { database: Database; url: string; close(): Promise<void> };

/** The PostgreSQL server of this run, as its superuser. */
export function testServerUrl(): string {
  const url = process.env[SERVER_URL_VARIABLE];
  if (url === undefined) throw new Error(`${SERVER_URL_VARIABLE} is not set: the global setup did not run`);
  return url;
}

/** A migrated database of its own for a test file, copied from a template where there is one; `close` drops it. */
export async function openTestDatabase(
  options: { isMigrated?: boolean; poolSize?: number } = {},
): Promise<TestDatabase> {
  const isMigrated = options.isMigrated ?? true;
  const name = `test_${process.env.JEST_WORKER_ID ?? '0'}_${randomBytes(6).toString('hex')}`;
  const template = isMigrated ? process.env.TEST_DATABASE_TEMPLATE : undefined;
  await asSuperuser(`create database ${name} ${template === undefined ? '' : `template ${template}`}`);
  const url = new URL(testServerUrl());
  url.pathname = `/${name}`;
  const database = openDatabase({ url: url.href, poolSize: options.poolSize ?? 10, logger: silentLogger });
  if (isMigrated && template === undefined) await migrateUp(database.knex);
  return {
    database,
    url: url.href,
    async close() {
      await Promise.allSettled([database.close()]);
      await asSuperuser(`drop database if exists ${name} with (force)`);
    },
  };
}

export async function asSuperuser(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: testServerUrl() });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** One statement on a connection of its own. */
export async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}
