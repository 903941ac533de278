import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { openEmbeddedDatabase } from '../../../src/database/embedded/index.ts';
import { currentKeeper } from '../../../src/database/embedded/keeper-lock.ts';
import { query } from '../../harness/database.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { noProcessTable, processesOf } from '../../harness/process-table.ts';
import { until } from '../../harness/until.ts';
import { clusterTemplate, keeperPid, postmasterPid, startUser } from './embedded-processes.ts';

if (noProcessTable !== undefined) process.stderr.write(`not run on ${process.platform}: ${noProcessTable}\n`);

(noProcessTable === undefined ? describe : describe.skip)('when processes end in the wrong way', () => {
  let template: Awaited<ReturnType<typeof clusterTemplate>>;
  let folder: ReturnType<typeof freshFolder>;
  const open = () => openEmbeddedDatabase({ dataDirectory: folder.path, logger: silentLogger });
  const cluster = () => join(folder.path, 'postgres');
  const allGone = () => until('no process is left', () => processesOf(folder.path).length === 0);
  const answers = (url: string) =>
    until('PostgreSQL answers', () => query(url, 'select 1 as one').catch(() => undefined));

  /** Puts an empty folder in place of the one with a cluster. */
  const withoutCluster = () => {
    folder.remove();
    folder = freshFolder();
  };

  beforeAll(async () => {
    template = await clusterTemplate();
  });
  beforeEach(() => {
    folder = freshFolder();
    template.copyTo(folder.path);
  });
  afterEach(async () => {
    await allGone();
    folder.remove();
  });
  afterAll(() => template.remove());

  test('the first user may leave while a second uses the database', async () => {
    const first = startUser(folder.path);
    const url = await first.hears('opened');
    const second = await open();
    expect(second.url).toBe(url);
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await first.close();
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await client.end();
    await second.close();
    expect(processesOf(folder.path)).toEqual([]);
  });

  test('a killed user that was the only one leaves no process behind', async () => {
    const user = startUser(folder.path);
    await user.hears('opened');
    user.child.kill('SIGKILL');
    await allGone();
  });

  test('a user that is killed while the first cluster is made leaves one that can be opened', async () => {
    withoutCluster();
    const user = startUser(folder.path);
    await until('initdb runs', () => readdirSync(folder.path).some((name) => name.startsWith('postgres.new-')));
    user.child.kill('SIGKILL');
    await allGone();
    await open().then((database) => database.close());
  });

  test('a keeper that is killed while it makes the cluster leaves no half of one', async () => {
    withoutCluster();
    const user = startUser(folder.path);
    await until('initdb runs', () => readdirSync(folder.path).some((name) => name.startsWith('postgres.new-')));
    process.kill(keeperPid(folder.path), 'SIGKILL');
    // The user launches another keeper by itself.
    const url = await user.hears('opened');
    expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await user.close();
    const again = await open();
    expect(await query(again.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await again.close();
    expect(readdirSync(folder.path).filter((name) => name.startsWith('postgres.new-'))).toEqual([]);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('%s to the whole process group lets the user drain', async (signal) => {
    const user = startUser(folder.path);
    await user.hears('opened');
    const keeper = keeperPid(folder.path);
    process.kill(-user.pid, signal);
    expect(await user.hears('drained')).toBe('1');
    await user.hears('closed');
    await user.ended;
    expect(processesOf(folder.path)).not.toContain(keeper);
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s to the keeper waits for the users', async (signal) => {
    const database = await open();
    const keeper = keeperPid(folder.path);
    process.kill(keeper, signal);
    await delay(0);
    await answers(database.url);
    expect(keeperPid(folder.path)).toBe(keeper);
    await database.close();
    expect(processesOf(folder.path)).toEqual([]);
  });

  test('a caller that does not speak to the keeper as a user does is cut off, and nobody else notices', async () => {
    const user = await open();
    const keeper = keeperPid(folder.path);
    const port = currentKeeper(join(folder.path, 'postgres-keeper'))?.port ?? 0;
    const openLine = '"'.padEnd(100_000, 'x');
    for (const garbage of [
      '{"say":"join"}\n',
      '{"say":"join","token":1}\n',
      '{"say":"join","token":["a"]}\n',
      '{"say":"join","token":"00"}\n',
      '{"say":"leave"}\n',
      '{"say":"stopping"}\n',
      '{"say":1}\n',
      '{}\n',
      '[]\n',
      'null\n',
      '"join"\n',
      '\n',
      'GET / HTTP/1.1\r\n\r\n',
      '{"say":"join"}\n'.repeat(1_000),
      `{"say":"leave"}\n{"say":"join"}\n`,
      openLine,
      `${openLine}"\n`,
      `{"say":"join","token":"${'0'.repeat(100_000)}"}\n`,
    ]) {
      const caller = connect(port, '127.0.0.1');
      let heard = '';
      caller.on('data', (chunk) => {
        heard += chunk;
      });
      // Cut off in the middle of what it says, it may hear of that as a reset.
      caller.on('error', () => undefined);
      const cutOff = new Promise<void>((resolve) => caller.on('close', () => resolve()));
      caller.write(garbage);
      await cutOff;
      expect(heard).toBe('');
    }
    expect(keeperPid(folder.path)).toBe(keeper);
    expect(await query(user.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await user.close();
  });

  test('a killed PostgreSQL comes back by itself under the same URL with all that was committed', async () => {
    const database = await open();
    await query(database.url, 'create table kept as select 42 as answer');
    const before = postmasterPid(cluster());
    process.kill(before, 'SIGKILL');
    await answers(database.url);
    expect(postmasterPid(cluster())).not.toBe(before);
    expect(await query(database.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
    await database.close();
  });

  test('no empty cluster is made in place of one that was deleted under a user', async () => {
    const database = await open();
    const postmaster = postmasterPid(cluster());
    renameSync(cluster(), `${cluster()}.away`);
    process.kill(postmaster, 'SIGKILL');
    await until('the log says so', () =>
      readFileSync(join(folder.path, 'postgres.log'), 'utf8').includes('has vanished'),
    );
    expect(existsSync(cluster())).toBe(false);
    renameSync(`${cluster()}.away`, cluster());
    await answers(database.url);
    await database.close();
  });

  test('a killed keeper is replaced, and sessions of its PostgreSQL go on', async () => {
    const database = await open();
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const keeper = keeperPid(folder.path);
    const postmaster = postmasterPid(cluster());
    process.kill(keeper, 'SIGKILL');
    await until('another keeper is there', () => keeperPid(folder.path) !== keeper);
    const second = startUser(folder.path);
    expect(await second.hears('opened')).toBe(database.url);
    await second.close();
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    expect(postmasterPid(cluster())).toBe(postmaster);
    await client.end();
    await database.close();
    expect(processesOf(folder.path)).toEqual([]);
  });

  test('close leaves no process behind although the keeper was killed just before', async () => {
    const database = await open();
    process.kill(keeperPid(folder.path), 'SIGKILL');
    await database.close();
    expect(processesOf(folder.path)).toEqual([]);
  });

  test('the next open adopts a PostgreSQL that has lost keeper and users', async () => {
    const user = startUser(folder.path);
    const url = await user.hears('opened');
    await query(url, 'create table kept as select 42 as answer');
    process.kill(user.pid, 'SIGSTOP');
    process.kill(keeperPid(folder.path), 'SIGKILL');
    process.kill(user.pid, 'SIGKILL');
    await user.ended;
    const postmaster = postmasterPid(cluster());
    const next = await open();
    expect(next.url).toBe(url);
    expect(postmasterPid(cluster())).toBe(postmaster);
    expect(await query(next.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
    await next.close();
    expect(processesOf(folder.path)).toEqual([]);
  });

  test('an adopted PostgreSQL that is killed comes back too', async () => {
    const database = await open();
    const keeper = keeperPid(folder.path);
    process.kill(keeper, 'SIGKILL');
    await until('another keeper is there', () => keeperPid(folder.path) !== keeper);
    process.kill(postmasterPid(cluster()), 'SIGKILL');
    await answers(database.url);
    await database.close();
    expect(processesOf(folder.path)).toEqual([]);
  });

  test('a stale postmaster.pid that names a process of someone else does not hinder the start', async () => {
    await open().then((database) => database.close());
    const file = `${process.pid}\n${cluster()}\n1700000000\n5432\n\n127.0.0.1\n  1234567 7654321\nready   \n`;
    writeFileSync(join(cluster(), 'postmaster.pid'), file);
    const database = await open();
    expect(await query(database.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await database.close();
    expect(existsSync(join(cluster(), 'postmaster.pid'))).toBe(false);
  });

  test('users that come and go at random never stop it under each other', async () => {
    const rounds = Array.from({ length: 4 }, async (_, lane) => {
      for (let turn = 0; turn < 4; turn++) {
        const database = await open();
        const rows = await query(database.url, `select ${lane} as lane, pg_sleep(${(lane * turn) / 100})`);
        expect(rows[0]?.lane).toBe(lane);
        await database.close();
      }
    });
    await Promise.all(rounds);
    expect(processesOf(folder.path)).toEqual([]);
    const log = readFileSync(join(folder.path, 'postgres.log'), 'utf8');
    expect(log).not.toMatch(/not properly shut down/);
  });
});
