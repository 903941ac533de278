import { loadConfig } from './src/config/index.ts';
import { migrationSettings } from './src/database/index.ts';

/** For the knex command line (`npx --no knex migrate:make NAME`); the server and `tessera migrate` use the same settings. */
export default {
  client: 'pg',
  connection: loadConfig(process.env).database.directUrl ?? '',
  migrations: migrationSettings,
};
