import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { canReach } from '../../src/database/embedded/cluster-owner.ts';
import { demoClients, demoSignIn } from '../../src/playground/demo-data.ts';
import { openTestDatabase, testServerUrl } from '../harness/database.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import {
  CHECKOUT,
  copyCheckout,
  copyWholeProgram,
  freePort,
  noProcessLeft,
  type ServerProcess,
  type ServerProcessOptions,
  startServerProcess,
} from '../harness/process.ts';
import { isRoot } from '../harness/process-table.ts';
import { introspect, serviceToken } from '../harness/token-requests.ts';

const IS_GOOD_END = { exitCode: 0, signal: null };

/** Most tests start on the database that the first one has made. */
let folder: ReturnType<typeof freshFolder>;
const servers: ServerProcess[] = [];
beforeAll(() => {
  folder = freshFolder();
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.dispose();
  await noProcessLeft(folder.path);
});
afterAll(() => folder.remove());

async function start(options: Partial<ServerProcessOptions> = {}): Promise<ServerProcess> {
  const server = await startServerProcess({ dataDirectory: folder.path, ...options });
  servers.push(server);
  return server;
}

async function withFolder(name: string, work: (path: string) => Promise<void>): Promise<void> {
  const other = freshFolder(name);
  try {
    await work(other.path);
  } finally {
    for (const server of servers.splice(0)) await server.dispose();
    await noProcessLeft(other.path);
    other.remove();
  }
}

async function kidsOf(server: ServerProcess): Promise<string[]> {
  const response = await fetch(`${server.address}/jwks`);
  const { keys } = (await response.json()) as { keys: { kid: string }[] };
  return keys.map(({ kid }) => kid).sort();
}

const issueToken = (server: ServerProcess) =>
  serviceToken(server.address, demoClients.service, { scope: 'files:read', resource: 'urn:demo:files' });

test('from nothing it starts with a database of its own, and says in the end where it is and how to sign in', async () => {
  const server = await start();
  await server.ready();
  const lastLines = server.output().slice(server.output().indexOf('issuer '));
  expect(lastLines).toContain(`issuer ${server.address}\n`);
  for (const told of [`playground on ${server.address}/`, demoSignIn.email, demoSignIn.password]) {
    expect(lastLines).toContain(told);
  }
  const discovery = await fetch(`${server.address}/.well-known/openid-configuration`);
  expect(await discovery.json()).toMatchObject({ issuer: server.address });
  expect(await kidsOf(server)).toHaveLength(2);
  expect(await introspect(server.address, demoClients.service, await issueToken(server))).toMatchObject({
    body: { active: true },
  });
  expect(await server.stop()).toEqual(IS_GOOD_END);
});

test('a second start keeps keys, tokens and what was registered', async () => {
  const tessera = (...args: string[]) =>
    execFileSync(process.execPath, ['src/cli/tessera.ts', 'client', ...args, '--json'], {
      cwd: CHECKOUT,
      env: { PATH: process.env.PATH, DATA_DIR: folder.path },
      encoding: 'utf8',
    });
  const first = await start();
  await first.ready();
  const kids = await kidsOf(first);
  const token = await issueToken(first);
  const made = JSON.parse(
    tessera('create', '--id', 'kept', '--name', 'Kept', '--grant', 'client_credentials', '--introspect-any'),
  ) as { client_secret: string };
  expect(await first.stop()).toEqual(IS_GOOD_END);
  await noProcessLeft(folder.path);

  const second = await start();
  await second.ready();
  expect(await kidsOf(second)).toEqual(kids);
  const { body } = await introspect(second.address, { id: 'kept', secret: made.client_secret }, token);
  expect(body).toMatchObject({ active: true, client_id: demoClients.service.id });
});

test('two run side by side on ports and data directories of their own, one from a path with spaces, whichever ends first', async () => {
  await withFolder('a folder with spaces', async (path) => {
    const other = { checkout: copyCheckout(join(path, 'check out')), dataDirectory: join(path, 'data of it') };
    const [first, second] = await Promise.all([start(), start(other)]);
    await Promise.all([first.ready(), second.ready()]);
    expect(await kidsOf(first)).not.toEqual(await kidsOf(second));
    expect(await first.stop()).toEqual(IS_GOOD_END);
    await noProcessLeft(folder.path);
    await issueToken(second);
    expect(await second.stop()).toEqual(IS_GOOD_END);
  });
});

test('two servers on one data directory share its database, and the first to end leaves the other at work', async () => {
  const [first, second] = await Promise.all([start(), start()]);
  await Promise.all([first.ready(), second.ready()]);
  expect(await kidsOf(first)).toEqual(await kidsOf(second));
  expect(await first.stop()).toEqual(IS_GOOD_END);
  await issueToken(second);
  expect(await second.stop()).toEqual(IS_GOOD_END);
});

test('with DATABASE_URL it uses that PostgreSQL and starts none', async () => {
  const database = await openTestDatabase({ isMigrated: false });
  try {
    await withFolder('unused', async (path) => {
      const server = await start({ dataDirectory: path, environment: { DATABASE_URL: database.url } });
      await server.ready();
      await issueToken(server);
      const rows = await database.database.knex('signing_keys').select('kid');
      expect(rows.map(({ kid }) => kid).sort()).toEqual(await kidsOf(server));
      await noProcessLeft(join(path, 'postgres'));
      expect(await server.stop()).toEqual(IS_GOOD_END);
    });
  } finally {
    await database.close();
  }
});

describe('what hinders a start is told in one line, and nothing is left running', () => {
  async function refused(server: ServerProcess, line: RegExp): Promise<void> {
    expect(await server.ended).toEqual({ exitCode: 1, signal: null });
    expect(server.faults()).toEqual([expect.stringMatching(line)]);
  }

  test.each(['PORT', 'METRICS_PORT'])('a %s that is taken', async (name) => {
    const port = await freePort();
    const taker = createServer();
    await new Promise<void>((resolve) => taker.listen(port, '127.0.0.1', resolve));
    try {
      await refused(
        await start({ environment: { [name]: String(port) } }),
        new RegExp(`^${name} wants a free port.* ${port} is taken$`),
      );
    } finally {
      taker.close();
    }
  });

  test.each([
    ['nothing listens', () => 'postgres://nobody@127.0.0.1:1/none', /^the database can't be reached .*DATABASE_URL$/],
    ['is no such database', () => new URL('/no_such', testServerUrl()).href, /^the database refused: .*no_such/],
  ])('a DATABASE_URL where there %s', async (_, url, line) => {
    await refused(await start({ environment: { DATABASE_URL: url() } }), line);
  });

  test('a data directory that is a file', async () => {
    await refused(
      await start({ dataDirectory: join(CHECKOUT, 'package.json') }),
      /package\.json is not a folder; set DATA_DIR/,
    );
  });
});

if (!isRoot) process.stderr.write('not run as somebody else: only root can become another user\n');

(isRoot ? describe : describe.skip)('as an ordinary user', () => {
  let program: ReturnType<typeof freshFolder>;
  let asNobody: Pick<ServerProcessOptions, 'identity' | 'checkout' | 'command'>;

  beforeAll(() => {
    const idOf = (kind: string) => Number(execFileSync('/usr/bin/id', [kind, 'nobody'], { encoding: 'utf8' }));
    const nobody = { uid: idOf('-u'), gid: idOf('-g') };
    program = freshFolder('program');
    const isReachable = [CHECKOUT, process.execPath].every((path) => canReach(nobody, '-x', path));
    const { checkout, node } = isReachable
      ? { checkout: CHECKOUT, node: process.execPath }
      : copyWholeProgram(program.path);
    asNobody = { identity: nobody, checkout, command: [node, 'src/main.ts'] };
  });
  afterAll(() => program.remove());

  test('it starts and ends like root', async () => {
    await withFolder('of nobody', async (path) => {
      chownSync(path, asNobody.identity?.uid ?? 0, asNobody.identity?.gid ?? 0);
      const server = await start({ ...asNobody, dataDirectory: path });
      await server.ready();
      await issueToken(server);
      expect(await server.stop()).toEqual(IS_GOOD_END);
    });
  });

  test('a data directory that it may not write to is told in one line', async () => {
    await withFolder('of root', async (path) => {
      const locked = join(path, 'locked');
      mkdirSync(locked);
      chmodSync(locked, 0o755);
      const server = await start({ ...asNobody, dataDirectory: join(locked, 'data') });
      expect(await server.ended).toEqual({ exitCode: 1, signal: null });
      expect(server.faults()).toEqual([expect.stringMatching(/locked\/data can't be written.*; set DATA_DIR/)]);
    });
  });
});
