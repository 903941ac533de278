import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createJobs, type Jobs, type Sweep, sweepTask } from '../../../src/jobs/index.ts';
import { requestPeriodMs, type Task } from '../../../src/jobs/jobs.ts';
import type { Logger } from '../../../src/telemetry/index.ts';
import { asSuperuser, openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { type DatabaseWay, openDatabaseWay } from '../../harness/database-way.ts';
import { recordingLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

/** How long pg-boss may take to end, and the pause between attempts to start, at the least. */
const GRACE_MS = 2_000;
const RETRY_DELAY_MS = 2_000;
/** The promise is three seconds; the rest is for a busy machine. */
const STOP_LIMIT_MS = 4_000;

let place: TestDatabase;
const running: Jobs[] = [];

beforeAll(async () => {
  place = await openTestDatabase();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((jobs) => jobs.stop()));
  await place.database.knex.raw('drop schema if exists pgboss cascade');
});
afterAll(() => place.close());

function node(sweep: Sweep['sweep'] | Sweep[], options: { intervalSeconds?: number; url?: string } = {}) {
  const { logger, lines } = recordingLogger();
  const sweeps = Array.isArray(sweep) ? sweep : [{ name: 'artifacts', sweep }];
  const task = sweepTask({ logger, intervalSeconds: options.intervalSeconds ?? 1, batchSize: 10, sweeps });
  return { jobs: start([task], { logger, url: options.url }), lines };
}

function start(
  tasks: readonly Task[],
  { logger, url, answerTimeoutMs }: { logger: Logger; url?: string | undefined; answerTimeoutMs?: number },
): Jobs {
  const jobs = createJobs({
    databaseUrl: url ?? place.url,
    logger,
    tasks,
    ...(answerTimeoutMs !== undefined && { answerTimeoutMs }),
  });
  running.push(jobs);
  return jobs;
}

async function connections(): Promise<number> {
  const { rows } = await place.database.knex.raw<{ rows: { count: string }[] }>(
    `select count(*) from pg_stat_activity where application_name = 'tessera jobs' and datname = current_database()`,
  );
  return Number(rows[0]?.count);
}

/** Requests for a sweep that were taken, and how many seconds they were made in. */
async function requests(): Promise<{ states: string[]; seconds: number }> {
  const { rows } = await place.database.knex.raw<{ rows: { state: string; second: string }[] }>(
    `select state, date_trunc('second', created_on)::text as second from pgboss.job`,
  );
  return { states: rows.map(({ state }) => state), seconds: new Set(rows.map(({ second }) => second)).size };
}

async function hasNextSecondBegun(): Promise<boolean> {
  const { rows } = await place.database.knex.raw<{ rows: { is_over: boolean }[] }>(
    `select date_trunc('second', now()) > date_trunc('second', max(created_on)) as is_over from pgboss.job`,
  );
  return rows[0]?.is_over ?? false;
}

describe('the scheduled work', () => {
  test('sweeps at the start and again at each interval, in batches of the size asked for', async () => {
    const sizes: number[] = [];
    const { jobs } = node(async (batchSize) => {
      sizes.push(batchSize);
      return sizes.length === 1 ? batchSize : 0;
    });
    await jobs.start();
    await until('it has swept four times', () => sizes.length >= 4);
    expect(new Set(sizes)).toEqual(new Set([10]));
  });

  test('an interval of a year is neither refused nor run at once again', async () => {
    let sweeps = 0;
    const { jobs, lines } = node(async () => ++sweeps, { intervalSeconds: 365 * 24 * 3_600 });
    await jobs.start();
    await until('it sweeps', () => sweeps > 0);
    expect(sweeps).toBe(1);
    expect(requestPeriodMs(365 * 24 * 3_600)).toBeLessThan(2 ** 31);
    expect(lines.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  });

  test('runs on one node at a time, even when it takes longer than the interval', async () => {
    let sweeps = 0;
    let finish = () => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const sweep = async () => {
      sweeps++;
      await finished;
      return 0;
    };
    await node(sweep).jobs.start();
    await until('it sweeps', () => sweeps > 0);
    await until('the interval is over', hasNextSecondBegun);
    // Each asks for a sweep of its own interval as it starts.
    for (const { jobs } of [node(sweep), node(sweep)]) await jobs.start();
    expect((await requests()).states).toEqual(['active']);
    expect(sweeps).toBe(1);
    finish();
    await until('it sweeps again', () => sweeps > 1);
  });

  test('runs once per interval, however many nodes there are', async () => {
    let sweeps = 0;
    const sweep = async () => {
      sweeps++;
      return 0;
    };
    // One after the other, and so out of step, as nodes are.
    for (const { jobs } of [node(sweep), node(sweep), node(sweep)]) await jobs.start();
    await until('they have swept four times', () => sweeps >= 4);
    const { states, seconds } = await requests();
    expect(states.length).toBeGreaterThanOrEqual(4);
    expect(seconds).toBe(states.length);
  });

  test('every kind of row is swept to its end, and logged by its name with how many were removed', async () => {
    const left = { artifacts: 25, attempts: 12 };
    const sweepOf = (name: keyof typeof left) => ({
      name,
      async sweep(batchSize: number) {
        const removed = Math.min(batchSize, left[name]);
        left[name] -= removed;
        return removed;
      },
    });
    const { jobs, lines } = node([sweepOf('artifacts'), sweepOf('attempts')]);
    await jobs.start();
    await until('nothing is left', () => left.artifacts === 0 && left.attempts === 0 && lines.length >= 2);
    expect(lines.map(({ sweep, removed }) => ({ sweep, removed }))).toEqual([
      { sweep: 'artifacts', removed: 25 },
      { sweep: 'attempts', removed: 12 },
    ]);
  });

  test('a sweep that fails keeps the others from nothing', async () => {
    let others = 0;
    const { jobs, lines } = node([
      { name: 'artifacts', sweep: async () => Promise.reject(new Error('deadlock detected')) },
      { name: 'attempts', sweep: async () => (others++ === 0 ? 3 : 0) },
    ]);
    await jobs.start();
    await until('the others are swept', () => others > 0 && lines.length >= 2);
    expect(lines).toContainEqual(expect.objectContaining({ level: 40, sweep: 'artifacts' }));
    expect(lines).toContainEqual(expect.objectContaining({ level: 30, sweep: 'attempts', removed: 3 }));
  });

  test('a sweep that fails is logged and does not end the next one', async () => {
    let sweeps = 0;
    const { jobs, lines } = node(async () => {
      sweeps++;
      if (sweeps === 1) throw new Error('deadlock detected');
      return 0;
    });
    await jobs.start();
    await until('it sweeps again', () => sweeps >= 2);
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 40, err: expect.objectContaining({ message: 'deadlock detected' }) }),
    );
  });

  test('each task runs at its own interval, and one that fails is logged and run again', async () => {
    const { logger, lines } = recordingLogger();
    const runs = { often: 0, seldom: 0 };
    const often = {
      name: 'often',
      intervalSeconds: 1,
      run: async () => {
        runs.often++;
        if (runs.often === 2) throw new Error('the second time');
      },
    };
    const seldom = {
      name: 'seldom',
      intervalSeconds: 3_600,
      run: async () => {
        runs.seldom++;
      },
    };
    await start([often, seldom], { logger }).start();
    await until('one has run three times and the other once', () => runs.often >= 3 && runs.seldom >= 1);
    expect(runs.seldom).toBe(1);
    expect(lines).toContainEqual(
      expect.objectContaining({
        level: 40,
        task: 'often',
        err: expect.objectContaining({ message: 'the second time' }),
      }),
    );
  });

  test('a task is told when the work is to stop', async () => {
    const { logger } = recordingLogger();
    const signals: AbortSignal[] = [];
    const run = async (signal: AbortSignal) => void signals.push(signal);
    const jobs = start([{ name: 'long', intervalSeconds: 60, run }], { logger });
    await jobs.start();
    await until('it runs', () => signals.length > 0);
    expect(signals[0]?.aborted).toBe(false);
    await jobs.stop();
    expect(signals[0]?.aborted).toBe(true);
  });

  test('what fails because the stop has begun is no warning', async () => {
    const { logger, lines } = recordingLogger();
    let isRunning = false;
    const run = async (signal: AbortSignal) => {
      isRunning = true;
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('pool is destroyed'))));
    };
    const jobs = start([{ name: 'long', intervalSeconds: 60, run }], { logger });
    await jobs.start();
    await until('it runs', () => isRunning);
    await jobs.stop();
    const failed = lines.filter(({ task }) => task === 'long');
    expect(failed.map(({ err }) => err)).toEqual([expect.objectContaining({ message: 'pool is destroyed' })]);
    expect(lines.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  });

  test('stops quickly after the batch in hand, and leaves no connection', async () => {
    const events: string[] = [];
    const inHand = Promise.withResolvers<void>();
    const { jobs } = node(
      async (batchSize) => {
        events.push('a batch begins');
        if (events.length > 1) await inHand.promise;
        events.push('a batch ends');
        return batchSize;
      },
      { intervalSeconds: 60 },
    );
    await jobs.start();
    await until('the second batch is in hand', () => events.length === 3);
    const stopped = jobs.stop().then(() => events.push('stopped'));
    inHand.resolve();
    await Promise.race([stopped, delay(GRACE_MS, undefined, { ref: false }).then(() => events.push('cut off'))]);
    await until('no connection is left', async () => (await connections()) === 0);
    expect(events).toEqual(['a batch begins', 'a batch ends', 'a batch begins', 'a batch ends', 'stopped']);
  });

  test('a database that is away at the start is waited for, and waiting ends at once when told to stop', async () => {
    const { jobs, lines } = node(async () => 0, { url: 'postgres://tessera:secret@127.0.0.1:1/tessera' });
    const started = jobs.start();
    await until('it warns', () => lines.find(({ level }) => level === 40));
    const ended = Promise.all([jobs.stop(), started]).then(() => 'stopped');
    expect(await Promise.race([ended, delay(RETRY_DELAY_MS, 'tries again', { ref: false })])).toBe('stopped');
    expect(JSON.stringify(lines)).not.toContain('secret');
  });

  test('an outage ends neither the process nor the work: it goes on by itself', async () => {
    let sweeps = 0;
    const { jobs, lines } = node(async () => {
      sweeps++;
      return 0;
    });
    await jobs.start();
    await until('it sweeps', () => sweeps >= 1);
    const name = new URL(place.url).pathname.slice(1);
    await asSuperuser(`alter database ${name} allow_connections false`);
    await asSuperuser(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}' and application_name = 'tessera jobs'`,
    );
    await until('a sweep could not be asked for', () =>
      lines.some(
        ({ level, err }) => level === 40 && JSON.stringify(err).includes('not currently accepting connections'),
      ),
    );
    await asSuperuser(`alter database ${name} allow_connections true`);
    const before = sweeps;
    await until('it sweeps again', () => sweeps > before);
  });

  describe('a database that falls silent', () => {
    let way: DatabaseWay;
    beforeEach(async () => {
      way = await openDatabaseWay(place.url);
    });
    afterEach(() => way.cut());

    test('is given up on, and the work goes on by itself when it is back', async () => {
      let runs = 0;
      const run = async () => {
        runs += 1;
      };
      const { logger, lines } = recordingLogger();
      const task = { name: 'count', intervalSeconds: 1, run };
      const jobs = start([task], { logger, url: way.url, answerTimeoutMs: 1_000 });
      await jobs.start();
      await until('it runs', () => runs >= 1);
      way.silence();
      await until('it is given up on', () => lines.some(({ err }) => JSON.stringify(err ?? '').includes('timeout')));
      way.resume();
      const before = runs;
      await until('it runs again', () => runs > before);
    });

    test('holds up no stop', async () => {
      const { jobs } = node(async () => 0, { url: way.url });
      await jobs.start();
      way.silence();
      const start = performance.now();
      await jobs.stop();
      expect(performance.now() - start).toBeLessThan(STOP_LIMIT_MS);
    });
  });

  test('stopping what was never started does no harm', async () => {
    const { jobs } = node(async () => 0);
    await jobs.stop();
    await jobs.start();
  });
});
