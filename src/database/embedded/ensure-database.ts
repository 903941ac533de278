import { DATABASE_NAME } from './cluster-record.ts';
import { embeddedFault, errorCode } from './embedded-fault.ts';

/** SQLSTATE `invalid_password` and `invalid_catalog_name` (PostgreSQL, appendix A). */
const WRONG_PASSWORD = '28P01';
const NO_SUCH_DATABASE = '3D000';

/**
 * Connects once and creates the database where it isn't there yet.
 *
 * @throws AppError when the recorded password is not that of the cluster; what `pg` threw when there is no connection
 */
export async function ensureDatabase(url: string): Promise<void> {
  try {
    await connected(url, async () => undefined);
  } catch (error) {
    if (errorCode(error) === WRONG_PASSWORD) {
      throw embeddedFault('the password in postgres.json is not that of the cluster; restore the file', error);
    }
    if (errorCode(error) !== NO_SUCH_DATABASE) throw error;
    const maintenance = url.replace(/[^/]*$/, 'postgres');
    await connected(maintenance, (query) => query(`CREATE DATABASE ${DATABASE_NAME}`));
  }
}

async function connected(
  url: string,
  work: (query: (statement: string) => Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: url });
  // The statement under way fails too, and that is where it is told.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await work((statement) => client.query(statement));
  } finally {
    await client.end();
  }
}
