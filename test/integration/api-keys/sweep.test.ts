import { expect, test } from '@jest/globals';
import { composeJobs } from '../../../src/compose/jobs.ts';
import { loadConfig } from '../../../src/config/index.ts';
import { until } from '../../harness/until.ts';
import { openShared } from '../cli/command-line.ts';
import { API, createKey, insertClient, openNode } from './node.ts';

test('the scheduled work removes what is older than it is kept, and nothing else', async () => {
  const { domains, environment, close } = await openShared();
  const config = loadConfig({ ...environment, SWEEP_INTERVAL: '1' });
  const jobs = composeJobs(config, domains, { sweepAttempts: async () => 0, works: [] });
  try {
    const place = { database: domains.database, url: environment.DATABASE_URL ?? '', close };
    const { id } = await createKey(openNode(place), await insertClient(place));
    const { knex } = domains.database;
    const today = new Date(domains.clock()).toISOString().slice(0, 10);
    const days = ['2001-01-01', today];
    await knex('api_key_usage').insert(days.map((day) => ({ key_id: id, api: API, day, requests: 1 })));
    await jobs.start();
    const left = () => domains.apiKeys.usage({ id }, { from: '2000-01-01', to: '2100-01-01' });
    await until('the old count is removed', async () => (await left()).length < 2);
    expect(await left()).toMatchObject([{ day: today }]);
  } finally {
    await jobs.stop();
    await close();
  }
});
