import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { createJobs, enqueue, type Jobs, type Work } from '../../../src/jobs/index.ts';
import { openTestDatabase, query, type TestDatabase } from '../../harness/database.ts';
import { openDatabaseWay } from '../../harness/database-way.ts';
import { recordingLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

let place: TestDatabase;
const running: Jobs[] = [];

beforeAll(async () => {
  place = await openTestDatabase();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((jobs) => jobs.stop()));
  await place.database.knex.raw('drop schema if exists pgboss cascade');
  await place.database.knex('job_outbox').delete();
});
afterAll(() => place.close());

function node(run: Work['run'], options: Partial<Work> & { url?: string } = {}) {
  const { url = place.url, ...settings } = options;
  const { logger, lines } = recordingLogger();
  const work: Work = {
    queue: 'letters',
    concurrency: 2,
    attempts: 3,
    firstPauseSeconds: 1,
    longestPauseSeconds: 2,
    ...settings,
    run,
  };
  const jobs = createJobs({ databaseUrl: url, logger, tasks: [], works: [work], recoverySeconds: 1 });
  running.push(jobs);
  return { jobs, lines };
}

const ask = (payload: { to: string }) => enqueue(place.database.knex, 'letters', payload);

async function waiting(): Promise<number> {
  return (await place.database.knex('job_outbox')).length;
}

describe('a job', () => {
  test('is done with its payload, though no node was there when it was asked for', async () => {
    await ask({ to: 'ada' });
    const done: unknown[] = [];
    await node(async (payload) => void done.push(payload)).jobs.start();
    await until('it is done', () => done.length > 0);
    expect(done).toEqual([{ to: 'ada' }]);
    expect(await waiting()).toBe(0);
  });

  test('begins within a second or two, when a node is there', async () => {
    const done: unknown[] = [];
    await node(async (payload) => void done.push(payload)).jobs.start();
    await ask({ to: 'ada' });
    await until('it is done', () => done.length > 0, 2_000);
  });

  test('that is asked for in a transaction which is taken back is never done', async () => {
    const done: unknown[] = [];
    await place.database.knex
      .transaction(async (trx) => {
        await enqueue(trx, 'letters', { to: 'nobody' });
        throw new Error('taken back');
      })
      .catch(() => undefined);
    await ask({ to: 'ada' });
    await node(async (payload) => void done.push(payload)).jobs.start();
    await until('the other one is done', () => done.length > 0);
    expect(done).toEqual([{ to: 'ada' }]);
  });

  test('can only be asked for where the database takes it', async () => {
    const away = await openTestDatabase({ isMigrated: false });
    try {
      await expect(enqueue(away.database.knex, 'letters', { to: 'ada' })).rejects.toThrow('job_outbox');
    } finally {
      await away.close();
    }
  });

  test('is done once, however many nodes there are', async () => {
    const done: unknown[] = [];
    const run = async (payload: unknown) => void done.push(payload);
    await Promise.all([node(run), node(run), node(run)].map(({ jobs }) => jobs.start()));
    const names = Array.from({ length: 60 }, (_, index) => `person ${index}`);
    await Promise.all(names.map((to) => ask({ to })));
    await until('all are done', async () => done.length >= names.length && (await waiting()) === 0, 10_000);
    expect(done.map((payload) => (payload as { to: string }).to).sort()).toEqual([...names].sort());
  });

  test('is moved once from the outbox when a node fell over between the two steps', async () => {
    const done: unknown[] = [];
    await node(async (payload) => void done.push(payload)).jobs.start();
    const id = crypto.randomUUID();
    const row = { id, queue: 'letters', payload: JSON.stringify({ to: 'ada' }) };
    for (let times = 0; times < 2; times++) {
      await place.database.knex('job_outbox').insert(row);
      await until('it is taken over', async () => (await waiting()) === 0);
    }
    await until('it is done', () => done.length > 0);
    const { rows } = await place.database.knex.raw(`select id from pgboss.job where name = 'letters'`);
    expect(rows).toEqual([{ id }]);
  });

  test('that fails is tried again after a pause, and then done', async () => {
    const attempts: number[] = [];
    const { jobs, lines } = node(async () => {
      attempts.push(performance.now());
      if (attempts.length < 3) throw new Error('the letter box is stuck');
    });
    await jobs.start();
    await ask({ to: 'ada' });
    await until('it is done', () => jobs.counts().get('letters')?.done === 1);
    expect(jobs.counts().get('letters')).toEqual({ done: 1, failed: 2, given_up: 0 });
    const [first = 0, second = 0] = attempts;
    expect(second - first).toBeGreaterThan(900);
    expect(lines).toContainEqual(expect.objectContaining({ level: 40, queue: 'letters', attempt: 2 }));
  });

  test('is given up after its last attempt, and said to be', async () => {
    const { jobs, lines } = node(() => Promise.reject(new Error('no such street')), { attempts: 2 });
    await jobs.start();
    await ask({ to: 'ada' });
    await until('it is given up', () => jobs.counts().get('letters')?.given_up === 1);
    expect(jobs.counts().get('letters')).toEqual({ done: 0, failed: 2, given_up: 1 });
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 50, queue: 'letters', attempts: 2, reason: 'no such street' }),
    );
    // It doesn't tell to whom.
    expect(JSON.stringify(lines)).not.toContain('ada');
  });

  test('of a kind that only another version knows waits for that one', async () => {
    await enqueue(place.database.knex, 'parcels', { to: 'ada' });
    await ask({ to: 'ada' });
    const done: unknown[] = [];
    await node(async (payload) => void done.push(payload)).jobs.start();
    await until('the known one is done', () => done.length > 0);
    expect(await place.database.knex('job_outbox').pluck('queue')).toEqual(['parcels']);
  });

  test('no more are done at once than a node may', async () => {
    const hands = { now: 0, most: 0 };
    const finish = Promise.withResolvers<void>();
    const { jobs } = node(async () => {
      hands.now += 1;
      hands.most = Math.max(hands.most, hands.now);
      await finish.promise;
      hands.now -= 1;
    });
    await jobs.start();
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map((to) => ask({ to })));
    await until('two are in hand', async () => hands.now === 2 && (await waiting()) === 0);
    finish.resolve();
    await until('all are done', () => jobs.counts().get('letters')?.done === 5);
    expect(hands.most).toBe(2);
  });

  test('in the hands of a node that died is done by another', async () => {
    const way = await openDatabaseWay(place.url);
    try {
      let isInHand = false;
      const dead = node(
        (_, { signal }) => {
          isInHand = true;
          return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
        },
        { url: way.url },
      );
      await dead.jobs.start();
      await ask({ to: 'ada' });
      await until('it is in hand', () => isInHand);
      // Nothing of that node reaches the database from here on.
      way.silence();
      await query(place.url, `update pgboss.job set heartbeat_on = heartbeat_on - interval '1 minute'`);
      const done: unknown[] = [];
      await node(async (payload) => void done.push(payload)).jobs.start();
      await until('another one does it', () => done.length > 0);
      expect(done).toEqual([{ to: 'ada' }]);
    } finally {
      await way.cut();
    }
  });

  test('in hand at the stop is told, and done by the next node', async () => {
    const signals: AbortSignal[] = [];
    const { jobs } = node(
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signals.push(signal);
          signal.addEventListener('abort', () => reject(new Error('the office closes')));
        }),
    );
    await jobs.start();
    await ask({ to: 'ada' });
    await until('it is in hand', () => signals.length > 0);
    await jobs.stop();
    const done: unknown[] = [];
    await node(async (payload) => void done.push(payload)).jobs.start();
    await until('it is done', () => done.length > 0);
    expect(done).toEqual([{ to: 'ada' }]);
  });
});
