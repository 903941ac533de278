import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbeddedDatabase } from '../../src/database/embedded/index.ts';
import { migrateUp, openDatabase } from '../../src/database/index.ts';
import { asSuperuser } from './database.ts';
import { silentLogger } from './loggers.ts';

declare global {
  var closeTestServer: (() => Promise<void>) | undefined;
}

/** One PostgreSQL for the whole run (or the one at TEST_DATABASE_URL), and in it a migrated template to copy from. */
export default async function globalSetup(): Promise<void> {
  let closeServer = async () => {};
  if (process.env.TEST_DATABASE_URL === undefined) {
    const dataDirectory = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    // Where root runs the tests, PostgreSQL is another user, which must pass through.
    await chmod(dataDirectory, 0o711);
    const server = await openEmbeddedDatabase({ dataDirectory, logger: silentLogger });
    process.env.TEST_DATABASE_URL = server.url;
    closeServer = () => server.destroy();
  }
  const template = `template_${randomBytes(6).toString('hex')}`;
  await asSuperuser(`create database ${template}`);
  const url = new URL(process.env.TEST_DATABASE_URL as string);
  url.pathname = `/${template}`;
  const database = openDatabase({ url: url.href, poolSize: 4, logger: silentLogger });
  await migrateUp(database.knex);
  await database.close();
  process.env.TEST_DATABASE_TEMPLATE = template;
  globalThis.closeTestServer = async () => {
    await asSuperuser(`drop database ${template} with (force)`);
    await closeServer();
  };
}
