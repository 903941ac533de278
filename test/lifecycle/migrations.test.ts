import { execFile, execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Knex } from 'knex';
import { type Database, migrateDown, migrateUp, migrationStatus, openDatabase } from '../../src/database/index.ts';
import { demoClients } from '../../src/playground/demo-data.ts';
import { openTestDatabase, query, type TestDatabase } from '../harness/database.ts';
import { silentLogger } from '../harness/loggers.ts';
import { CHECKOUT, freePort, startServerProcess } from '../harness/process.ts';
import { isRoot } from '../harness/process-table.ts';
import { introspect, serviceToken } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';

const OLDEST_SUPPORTED = 15;

/** Everything of the schema that a migration can make, in the words of PostgreSQL. */
async function schemaOf(knex: Knex): Promise<Record<string, unknown[]>> {
  const lists = {
    columns: `select table_name, column_name, ordinal_position, data_type, udt_name, is_nullable, column_default,
                character_maximum_length, collation_name, is_identity, is_generated, generation_expression
              from information_schema.columns where table_schema = 'public' order by table_name, ordinal_position`,
    constraints: `select conrelid::regclass::text as table, conname, pg_get_constraintdef(oid) as definition
                  from pg_constraint where connamespace = 'public'::regnamespace order by 1, 2`,
    indexes: `select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by 1, 2`,
    triggers: `select tgrelid::regclass::text as table, tgname, pg_get_triggerdef(oid) as definition
               from pg_trigger where not tgisinternal order by 1, 2`,
    functions: `select proname, pg_get_functiondef(oid) as definition
                from pg_proc where pronamespace = 'public'::regnamespace and prokind in ('f', 'p') order by 1, 2`,
    types: `select typname, typtype from pg_type
            where typnamespace = 'public'::regnamespace and typtype in ('d', 'e', 'r') order by 1`,
    sequences: `select sequencename, data_type::text from pg_sequences where schemaname = 'public' order by 1`,
    settings: `select relname, reloptions, relpersistence from pg_class
               where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm') order by 1`,
    extensions: 'select extname from pg_extension order by 1',
  };
  const schema: Record<string, unknown[]> = {};
  for (const [name, statement] of Object.entries(lists)) schema[name] = (await knex.raw(statement)).rows;
  return schema;
}

/** Without what the tool keeps for itself, which stays when everything else is gone. */
async function ownTables(knex: Knex): Promise<string[]> {
  const rows = await knex('pg_tables').where({ schemaname: 'public' }).select('tablename');
  return rows.map(({ tablename }) => tablename).filter((name) => !name.startsWith('migrations'));
}

async function goUpDownAndUp({ knex }: Database): Promise<void> {
  const empty = await schemaOf(knex);
  const names = await migrateUp(knex);
  expect(names.length).toBeGreaterThan(0);
  expect(await migrateUp(knex)).toEqual([]);
  const first = await schemaOf(knex);
  expect(await migrateDown(knex)).toHaveLength(names.length);
  expect(await ownTables(knex)).toEqual([]);
  const left = await schemaOf(knex);
  expect([left.functions, left.types, left.triggers, left.extensions]).toEqual([
    empty.functions,
    empty.types,
    empty.triggers,
    empty.extensions,
  ]);
  expect(await migrationStatus(knex)).toEqual({
    applied: [],
    pending: names.map((name) => expect.stringContaining(name)),
  });
  expect(await migrateUp(knex)).toEqual(names);
  expect(await schemaOf(knex)).toEqual(first);
}

describe('on the PostgreSQL of the tests', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await openTestDatabase({ isMigrated: false });
  });
  afterAll(() => database.close());

  test('migrations lead up, down to nothing, and up again to the same schema', async () => {
    await goUpDownAndUp(database.database);
  });

  test('of several that migrate an empty database at once one does the work and the others wait for it', async () => {
    const empty = await openTestDatabase({ isMigrated: false });
    const nodes = Array.from({ length: 4 }, () => openDatabase({ url: empty.url, poolSize: 4, logger: silentLogger }));
    try {
      const outcomes = await Promise.all(nodes.map(({ knex }) => migrateUp(knex)));
      expect(outcomes.filter((names) => names.length > 0)).toHaveLength(1);
      for (const { knex } of nodes) expect((await migrationStatus(knex)).pending).toEqual([]);
    } finally {
      for (const node of nodes) await node.close();
      await empty.close();
    }
  });

  test('of several processes that migrate an empty database at once each succeeds', async () => {
    const empty = await openTestDatabase({ isMigrated: false });
    try {
      const migrate = () =>
        promisify(execFile)(process.execPath, ['src/cli/tessera.ts', 'migrate', 'up', '--json'], {
          cwd: CHECKOUT,
          env: { PATH: process.env.PATH, DATABASE_URL: empty.url },
        });
      const outcomes = await Promise.all([migrate(), migrate(), migrate()]);
      const applied = outcomes.flatMap(({ stdout }) => (JSON.parse(stdout) as { applied: string[] }).applied);
      const { applied: recorded, pending } = await migrationStatus(empty.database.knex);
      expect(applied.toSorted()).toEqual(recorded);
      expect(pending).toEqual([]);
    } finally {
      await empty.close();
    }
  });
});

/** Of the PostgreSQL versions that this system has, the oldest that is supported; undefined where there is none. */
function installedBinaries(): string | undefined {
  const home = '/usr/lib/postgresql';
  if (!existsSync(home)) return undefined;
  const versions = readdirSync(home)
    .map(Number)
    .filter((version) => version >= OLDEST_SUPPORTED);
  const bins = versions.sort((a, b) => a - b).map((version) => join(home, String(version), 'bin'));
  return bins.find((bin) => ['initdb', 'postgres'].every((program) => existsSync(join(bin, program))));
}

const bin = installedBinaries();
const hasUser = !isRoot || (existsSync('/etc/passwd') && isKnown('postgres'));
const isRunnable = bin !== undefined && hasUser;
if (!isRunnable) {
  process.stderr.write(
    `not run on another PostgreSQL: no version from ${OLDEST_SUPPORTED} on in /usr/lib/postgresql\n`,
  );
}

function isKnown(user: string): boolean {
  try {
    execFileSync('id', [user], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

(isRunnable ? describe : describe.skip)('on an older PostgreSQL, where this system has one', () => {
  let folder: string;
  let url: string;
  let postgres: ReturnType<typeof spawn>;
  let ended: Promise<unknown>;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tessera-older-'));
    const id = (kind: string) => Number(execFileSync('id', [kind, 'postgres'], { encoding: 'utf8' }));
    const identity = isRoot
      ? { uid: id('-u'), gid: id('-g') }
      : { uid: statSync(folder).uid, gid: statSync(folder).gid };
    chownSync(folder, identity.uid, identity.gid);
    const cluster = join(folder, 'cluster');
    execFileSync(join(bin ?? '', 'initdb'), ['-D', cluster, '-U', 'postgres', '--auth=trust', '--no-sync'], {
      ...identity,
      cwd: folder,
      stdio: 'ignore',
    });
    const port = await freePort();
    postgres = spawn(
      join(bin ?? '', 'postgres'),
      ['-D', cluster, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
      { ...identity, cwd: folder, stdio: 'ignore' },
    );
    ended = new Promise((resolve) => postgres.once('close', resolve));
    url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    await until('it answers', () => query(url, 'select 1').catch(() => undefined));
  });
  afterAll(async () => {
    postgres.kill('SIGQUIT');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });

  test('it is the version that was asked for, and migrations lead up, down and up', async () => {
    const [row] = await query(url, 'show server_version_num');
    expect(Number(row?.server_version_num)).toBeGreaterThanOrEqual(OLDEST_SUPPORTED * 10_000);
    const database = openDatabase({ url, poolSize: 4, logger: silentLogger });
    try {
      await goUpDownAndUp(database);
    } finally {
      await database.close();
    }
  });

  test('the server works on it', async () => {
    const server = await startServerProcess({
      dataDirectory: join(folder, 'data'),
      environment: { DATABASE_URL: url },
    });
    try {
      await server.ready();
      const token = await serviceToken(server.address, demoClients.service, { scope: 'files:read' });
      const answer = await introspect(server.address, demoClients.service, token);
      expect(answer.body).toMatchObject({ active: true, client_id: demoClients.service.id });
      expect(await server.stop()).toEqual({ exitCode: 0, signal: null });
    } finally {
      await server.dispose();
    }
  });
});
