import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { openEmbeddedDatabase } from '../../../src/database/embedded/index.ts';
import { query } from '../../harness/database.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { noProcessTable, processesOf } from '../../harness/process-table.ts';
import { until } from '../../harness/until.ts';
import { clusterTemplate, startUser } from './embedded-processes.ts';

let folder: ReturnType<typeof freshFolder>;
const open = (dataDirectory = folder.path) => openEmbeddedDatabase({ dataDirectory, logger: silentLogger });
const leaves = () => (noProcessTable === undefined ? processesOf(folder.path) : []);

beforeEach(() => {
  folder = freshFolder();
});
afterEach(() => folder.remove());

describe('the embedded database', () => {
  test('a fresh folder becomes a durable PostgreSQL that answers on the loopback alone', async () => {
    const database = await open();
    const names = ['fsync', 'synchronous_commit', 'listen_addresses', 'unix_socket_directories', 'server_encoding'];
    const settings = await query(
      database.url,
      `select name, setting from pg_settings where name in (${names.map((name) => `'${name}'`).join()})`,
    );
    const [row] = await query(
      database.url,
      'select current_database() as name, current_user as person, (select rolsuper from pg_roles where rolname = current_user)',
    );
    await database.close();
    expect(Object.fromEntries(settings.map(({ name, setting }) => [name, setting]))).toEqual({
      fsync: 'on',
      synchronous_commit: 'on',
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      server_encoding: 'UTF8',
    });
    expect(row).toEqual({ name: 'tessera', person: 'tessera', rolsuper: true });
  });

  test('data and URL stay from one start to the next, and no process outlives the last close', async () => {
    const first = await open();
    await query(first.url, 'create table kept as select 42 as answer');
    await first.close();
    await first.close();
    expect(leaves()).toEqual([]);
    const second = await open();
    expect(second.url).toBe(first.url);
    expect(await query(second.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
    await second.close();
    expect(leaves()).toEqual([]);
  });

  test('users that open a fresh folder at the same instant share one cluster', async () => {
    const processes = [startUser(folder.path), startUser(folder.path), startUser(folder.path)];
    const [here, alsoHere, ...elsewhere] = await Promise.all([
      open().then((database) => ({ url: database.url, close: () => database.close() })),
      open().then((database) => ({ url: database.url, close: () => database.close() })),
      ...processes.map(async (user) => ({ url: await user.hears('opened'), close: () => user.close() })),
    ]);
    const users = [here, alsoHere, ...elsewhere];
    expect(new Set(users.map((user) => user?.url)).size).toBe(1);
    const starts = readFileSync(join(folder.path, 'postgres.log'), 'utf8').match(/starting PostgreSQL/g);
    expect(starts).toHaveLength(1);
    expect(readdirSync(folder.path).filter((name) => name.startsWith('postgres.new-'))).toEqual([]);
    await Promise.all(users.map((user) => user?.close()));
    expect(leaves()).toEqual([]);
  });

  test('a folder may have spaces, quotes and a path longer than a socket address', async () => {
    const name = join("it's a folder", 'deep '.repeat(20).trim(), 'deeper '.repeat(20).trim());
    const long = freshFolder(name);
    const database = await open(long.path);
    expect(await query(database.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await database.close();
    long.remove();
  });

  test('a path that is no folder is named', async () => {
    const file = join(folder.path, 'file');
    writeFileSync(file, '');
    await expect(open(join(file, 'data'))).rejects.toThrow(/file.* is not a folder; set DATA_DIR/);
  });
});

describe('an embedded database that was made before', () => {
  let template: Awaited<ReturnType<typeof clusterTemplate>>;
  beforeAll(async () => {
    template = await clusterTemplate();
  });
  beforeEach(() => template.copyTo(folder.path));
  afterAll(() => template.remove());

  test('a wrong password is refused, and the file that holds the right one is private', async () => {
    const database = await open();
    const url = new URL(database.url);
    expect(Buffer.from(url.password, 'base64url')).toHaveLength(32);
    const file = join(folder.path, 'postgres.json');
    const mode = statSync(file).mode & 0o777;
    url.password = 'postgres';
    await expect(query(url.href, 'select 1')).rejects.toThrow(/password authentication failed/);
    await database.close();
    if (process.platform !== 'win32') expect(mode).toBe(0o600);
    expect(readFileSync(join(folder.path, 'postgres.log'), 'utf8')).not.toContain(new URL(database.url).password);
  });

  test('a relative folder is that of the working directory', async () => {
    const relativePath = relative(process.cwd(), folder.path);
    const database = await open(relativePath);
    const sameDatabase = await open();
    expect(sameDatabase.url).toBe(database.url);
    await Promise.all([database.close(), sameDatabase.close()]);
  });

  test('another port is taken where the recorded one is not free', async () => {
    const before = await open();
    await query(before.url, 'create table kept as select 42 as answer');
    await before.close();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(Number(new URL(before.url).port), '127.0.0.1', resolve));
    const after = await open();
    expect(new URL(after.url).port).not.toBe(new URL(before.url).port);
    expect(await query(after.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
    await after.close();
    await new Promise((resolve) => squatter.close(resolve));
  });

  test('no signal handler is left in the process of the user', async () => {
    const events = ['SIGINT', 'SIGTERM', 'SIGHUP', 'exit', 'beforeExit', 'uncaughtException', 'unhandledRejection'];
    const count = () => events.map((event) => process.listenerCount(event));
    const before = count();
    const database = await open();
    const during = count();
    await database.close();
    expect([during, count()]).toEqual([before, before]);
  });

  test('destroy deletes the database and the folder, unless another process uses it', async () => {
    const database = await open();
    const other = startUser(folder.path);
    await other.hears('opened');
    await expect(database.destroy()).rejects.toThrow(/used by another process/);
    await other.close();
    const again = await open();
    await again.destroy();
    expect(existsSync(folder.path)).toBe(false);
  });

  test('a cluster of another major version is left alone and named', async () => {
    writeFileSync(join(folder.path, 'postgres', 'PG_VERSION'), '15\n');
    await expect(open()).rejects.toMatchObject({
      code: 'database_unavailable',
      message: expect.stringMatching(/made by PostgreSQL 15, this is 18; .*DATABASE_URL/),
    });
    await until('the keeper goes', () => leaves().length === 0);
  });

  test('a lost password file is named', async () => {
    const record = join(folder.path, 'postgres.json');
    const content = readFileSync(record, 'utf8');
    writeFileSync(record, content.replace(/"password": "[^"]*"/, '"password": "wrong"'));
    await expect(open()).rejects.toThrow(/the password in postgres.json is not that of the cluster/);
    await until('the keeper goes', () => leaves().length === 0);
  });
});
