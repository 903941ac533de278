/**
 * A process that uses one key as fast as a timer allows and says how often it was allowed, with the time, until it is ended.
 * Arguments: the URL of the database, the id of the key, the flush interval in seconds.
 */
import { createApiKeys } from '../../../src/api-keys/index.ts';
import { systemClock } from '../../../src/config/index.ts';
import { openDatabase } from '../../../src/database/index.ts';
import { silentLogger } from '../../harness/loggers.ts';

const [url = '', id = '', flushSeconds = ''] = process.argv.slice(2);
const database = openDatabase({ url, poolSize: 4, logger: silentLogger });
const apiKeys = createApiKeys({
  knex: database.knex,
  clock: systemClock,
  changeFeed: { subscribe: () => undefined, isCurrent: () => false },
  audit: { apiKeyChanged: async () => undefined },
  owners: {
    findClient: async () => undefined,
    findAccount: async () => undefined,
    listApis: async () => [],
    holdApis: async () => undefined,
  },
  flushSeconds: Number(flushSeconds),
  logger: silentLogger,
});
const apiKey = await apiKeys.find(id);
if (apiKey === undefined) throw new Error(`there is no key ${id}`);

let allowed = 0;
const timer = setInterval(() => {
  if (apiKeys.allow(apiKey, { api: 'urn:example:orders', address: '192.0.2.1' }).ok) allowed += 1;
  process.stdout.write(`${Date.now()} ${allowed}\n`);
}, 5);

process.once('SIGTERM', async () => {
  clearInterval(timer);
  await apiKeys.close();
  await database.close();
});
