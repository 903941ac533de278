import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openEmbeddedDatabase } from '../../src/database/embedded/index.ts';
import { demoClients } from '../../src/playground/demo-data.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import { notAsPromised, startLoad } from '../harness/load.ts';
import { silentLogger } from '../harness/loggers.ts';
import { noProcessLeft, type ServerProcess, startServerProcess } from '../harness/process.ts';
import { noProcessTable, processesOf } from '../harness/process-table.ts';
import { clientCredentials, post, revoke, serviceToken } from '../harness/token-requests.ts';
import { expectUnavailable } from '../harness/unavailable.ts';
import { until } from '../harness/until.ts';
import { keeperPid } from '../integration/database/embedded-processes.ts';

const SERVICE = demoClients.service;
const FORMAT = { scope: 'files:read', resource: 'urn:demo:files' };
const OTHER_FORMAT = { scope: 'notes:read', resource: 'urn:demo:notes' };
const LOOPS = 20;

if (noProcessTable !== undefined) process.stderr.write(`not run on ${process.platform}: ${noProcessTable}\n`);

(noProcessTable === undefined ? describe : describe.skip)('when PostgreSQL is killed under load', () => {
  let folder: ReturnType<typeof freshFolder>;
  let database: Awaited<ReturnType<typeof openEmbeddedDatabase>>;
  let server: ServerProcess;
  beforeAll(async () => {
    folder = freshFolder();
    database = await openEmbeddedDatabase({ dataDirectory: folder.path, logger: silentLogger });
    server = await startServerProcess({
      dataDirectory: `${folder.path}-of-the-server`,
      environment: { DATABASE_URL: database.url, LOG_LEVEL: 'warn', SHUTDOWN_TIMEOUT: '5' },
    });
    await server.ready();
  });
  afterAll(async () => {
    await server.dispose();
    await database.close();
    await noProcessLeft(folder.path);
    folder.remove();
  });

  /** Every process of PostgreSQL at once, while its keeper is held so that it starts no other. */
  function killPostgres(): { letItReturn(): void } {
    const keeper = keeperPid(folder.path);
    process.kill(keeper, 'SIGSTOP');
    for (const pid of processesOf(folder.path)) {
      try {
        if (pid !== keeper) process.kill(pid, 'SIGKILL');
      } catch (error) {
        // It has ended by itself since the list was made.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    return { letItReturn: () => process.kill(keeper, 'SIGCONT') };
  }

  const ready = async () => {
    const response = await fetch(`${server.address}/health/ready`);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  test('every answer is right or an honest 503, it all comes back by itself, and nothing promised is lost', async () => {
    const load = startLoad({ nodes: [server.address], loops: LOOPS });
    await until('all loops work', () => load.every(5));

    const outage = killPostgres();
    load.enter('outage');
    try {
      await until('every loop has met the outage', () => load.everyHeard503());
      await until('the node says that it is not ready', async () => (await ready()).status === 503);
      const { body } = await ready();
      expect(body).toMatchObject({ status: 'not_ready', checks: { database: 'failed' } });
      expect(body.reasons).toContain('the database does not answer');
      expect((await fetch(`${server.address}/health/live`)).status).toBe(200);
      // Signs and checks nothing in the database.
      for (const path of ['/jwks', '/.well-known/openid-configuration']) {
        expect((await fetch(`${server.address}${path}`)).status).toBe(200);
      }
    } finally {
      outage.letItReturn();
    }
    await until('the node is ready again', async () => (await ready()).status === 200);
    load.enter('afterwards');
    await until('all loops work again', () => load.every(5));
    await load.stop();

    expect(server.hasEnded()).toBe(false);
    expect([...new Set(load.wrong)]).toEqual([]);
    expect(load.live.size).toBeGreaterThan(LOOPS);
    expect(load.revoked.size).toBeGreaterThan(0);
    expect(await notAsPromised([server.address], load.live, true)).toEqual([]);
    expect(await notAsPromised([server.address], load.revoked, false)).toEqual([]);
  });

  test('a wrong secret and an unknown token get no verdict while the database is away', async () => {
    const token = await serviceToken(server.address, SERVICE, FORMAT);
    const outage = killPostgres();
    try {
      await until('the node is not ready', async () => (await ready()).status === 503);
      // Longer than what a node may remember of a client.
      const remembersNothing = async () =>
        (await clientCredentials(server.address, SERVICE, OTHER_FORMAT)).status === 503;
      await until('the node has forgotten the client', remembersNothing);
      const answers = [
        await post(`${server.address}/introspect`, SERVICE, { token }),
        await post(`${server.address}/introspect`, SERVICE, { token: 'unknown' }),
        await post(`${server.address}/introspect`, { ...SERVICE, secret: 'wrong' }, { token }),
        await clientCredentials(server.address, { ...SERVICE, secret: 'wrong' }, FORMAT),
        await clientCredentials(server.address, { id: 'nobody', secret: 'none' }, FORMAT),
        await revoke(server.address, SERVICE, token),
      ];
      for (const answer of answers) expectUnavailable(answer);
    } finally {
      outage.letItReturn();
    }
    await until('the token is active again', async () => {
      const { status, body } = await post(`${server.address}/introspect`, SERVICE, { token });
      return status === 200 && body.active === true;
    });
  });

  test('a server whose database is away ends in time when it is told to', async () => {
    const outage = killPostgres();
    try {
      await until('the node is not ready', async () => (await ready()).status === 503);
      server.signal('SIGTERM');
      await Promise.race([server.ended, delay(30_000, undefined, { ref: false })]);
      expect(server.hasEnded()).toBe(true);
    } finally {
      outage.letItReturn();
    }
  });
});
