/** A PostgreSQL with a hot standby in synchronous replication, from the binaries that npm installs. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { type Binaries, locateBinaries } from '../../src/database/embedded/binaries.ts';
import { type ClusterOwner, clusterOwner } from '../../src/database/embedded/cluster-owner.ts';
import { createCluster, POSTGRES_ENVIRONMENT } from '../../src/database/embedded/create-cluster.ts';
import { reachableBinaries } from '../../src/database/embedded/reachable-binaries.ts';
import { query } from '../harness/database.ts';
import { openDatabaseWay } from '../harness/database-way.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import { freePort } from '../harness/process.ts';
import { processesOf } from '../harness/process-table.ts';
import { until } from '../harness/until.ts';

const PASSWORD = 'known-to-this-test-alone';
const STANDBY_NAME = 'standby';

/** What both are started with: as in production, where it matters. */
const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'shared_buffers=64MB',
  'fsync=on',
  'synchronous_commit=on',
  'wal_level=replica',
  'hot_standby=on',
  'timezone=UTC',
];

export type PostgresPair = Readonly<{
  primaryUrl: string;
  standbyUrl: string;
  /** SIGKILL to every process of the primary at once. */
  killPrimary(): Promise<void>;
  /** Nothing reaches the standby any more. Resolves when commits of the primary wait for it. */
  cutOffStandby(): Promise<void>;
  stopStandby(): Promise<void>;
  startStandby(): Promise<void>;
  /** Makes the standby a primary. Resolves when it takes writes. */
  promoteStandby(): Promise<void>;
  close(): Promise<void>;
}>;

/** Starts both, the standby as a cold copy of the primary, and waits until the primary's commits wait for it. */
export async function startPostgresPair(): Promise<PostgresPair> {
  const folder = freshFolder();
  const primaryPlace = join(folder.path, 'primary');
  const standbyPlace = join(folder.path, 'standby');
  const owner = clusterOwner(folder.path, primaryPlace);
  if (owner !== undefined) chownSync(folder.path, owner.uid, owner.gid);
  const binaries = reachableBinaries(await locateBinaries(), owner);
  await createCluster({ binaries, cluster: primaryPlace, owner, password: PASSWORD });

  const [primaryPort, standbyPort] = [await freePort(), await freePort()];
  execFileSync('cp', ['-a', primaryPlace, standbyPlace]);
  const settings = [`synchronous_standby_names=${STANDBY_NAME}`];
  const primary = await start({ binaries, owner, place: primaryPlace, port: primaryPort, settings });
  const replication = await openDatabaseWay(primary.url);
  appendFileSync(
    join(standbyPlace, 'postgresql.conf'),
    `primary_conninfo = '${Object.entries({
      host: '127.0.0.1',
      port: new URL(replication.url).port,
      user: 'tessera',
      password: PASSWORD,
      application_name: STANDBY_NAME,
    })
      .map(([name, value]) => `${name}=${value}`)
      .join(' ')}'\n`,
  );
  const signalFile = join(standbyPlace, 'standby.signal');
  writeFileSync(signalFile, '');
  if (owner !== undefined) chownSync(signalFile, owner.uid, owner.gid);

  const startStandby = () => start({ binaries, owner, place: standbyPlace, port: standbyPort, settings: [] });
  let standby = await startStandby();
  const isInStep = async () =>
    (await query(primary.url, `select 1 from pg_stat_replication where sync_state = 'sync'`)).length === 1;
  await until('the standby is in step', isInStep);

  return {
    primaryUrl: primary.url,
    standbyUrl: standby.url,
    killPrimary: () => primary.kill(),
    async cutOffStandby() {
      replication.silence();
      const waiting = `select 1 from pg_stat_activity where wait_event = 'SyncRep'`;
      await until('commits wait for the standby', async () => (await query(primary.url, waiting)).length > 0);
    },
    stopStandby: () => standby.kill(),
    async startStandby() {
      standby = await startStandby();
      await until('the standby is in step', isInStep);
    },
    async promoteStandby() {
      await query(standby.url, 'select pg_promote(wait => true)');
    },
    async close() {
      await Promise.all([primary.kill(), standby.kill()]);
      await replication.cut();
      folder.remove();
    },
  };
}

type Running = { url: string; kill(): Promise<void> };

async function start(options: {
  binaries: Binaries;
  owner: ClusterOwner | undefined;
  place: string;
  port: number;
  settings: readonly string[];
}): Promise<Running> {
  const { binaries, owner, place, port } = options;
  const settings = [...SETTINGS, `port=${port}`, ...options.settings].flatMap((setting) => ['-c', setting]);
  const child: ChildProcess = spawn(binaries.postgres, ['-D', place, ...settings], {
    ...owner,
    cwd: place,
    env: POSTGRES_ENVIRONMENT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  const ended = once(child, 'close');
  const url = `postgres://tessera:${PASSWORD}@127.0.0.1:${port}/postgres`;
  await until('PostgreSQL answers', async () => {
    if (child.exitCode !== null) throw new Error(`PostgreSQL ended: ${said}`);
    return answers(url);
  });

  return {
    url,
    async kill() {
      for (const pid of processesOf(place)) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has ended meanwhile.
        }
      }
      await ended;
      await until('none of its processes is left', () => processesOf(place).length === 0);
    },
  };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}
