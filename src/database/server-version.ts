import type { Knex } from 'knex';
import { AppError } from '../errors.ts';

/** The oldest major version that is tested and still maintained. */
const OLDEST_MAJOR_VERSION = 15;

/** @throws {AppError} `configuration` where the server at DATABASE_URL is too old */
export async function assertSupportedServer(knex: Knex): Promise<void> {
  const { rows } = await knex.raw<{ rows: { server_version_num: string }[] }>('show server_version_num');
  const major = Math.floor(Number(rows[0]?.server_version_num) / 10_000);
  if (major >= OLDEST_MAJOR_VERSION) return;
  throw new AppError({
    code: 'configuration',
    message: `DATABASE_URL wants PostgreSQL ${OLDEST_MAJOR_VERSION} or newer: this one is ${major}`,
  });
}
