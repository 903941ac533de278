import { mkdtempSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbeddedDatabase } from '../src/database/embedded/index.ts';
import { silentLogger } from '../test/harness/loggers.ts';
import { type Process, startProcess } from './calls.ts';
import type { LoadHandlers } from './load.ts';
import { createRegistry, newKeyEncryptionKey, type Registry, serverEnvironment, withConnection } from './registry.ts';
import type { AdapterName, ServerHandlers } from './server.ts';

/** Tokens of people that introspections are drawn from, each under a grant of its own. */
export const TOKENS = 10_000;
/** People who go through flows at once. */
const LANES = 64;

/** Tokens that are seeded at once: enough to fill batches, and too few to leave a heap behind that is measured later. */
const SEED_STEP = 100;

/** What shells say of a program that Ctrl-C ended. */
const EXIT_CODE_OF_SIGNAL = 130;

const TEMPLATE = 'bench_template';

export type Stage = Readonly<{
  /** Where files of the run may lie; goes with it. */
  folder: string;
  registry: Registry;
  load: Process<LoadHandlers>;
  /** The database of all servers that are not told otherwise. */
  url: string;
  /** A copy of the registry with an empty token store. @returns its URL */
  copyDatabase(name: string): Promise<string>;
  /**
   * A server in a process of its own; one of each name.
   *
   * @param options.isSeeded whether it gets the tokens that introspections are drawn from
   */
  server(name: string, options: ServerOptions): Promise<Process<ServerHandlers>>;
  startLoad(): Promise<Process<LoadHandlers>>;
  close(): Promise<void>;
}>;

export type ServerOptions = {
  adapter?: AdapterName;
  url?: string;
  isSeeded?: boolean;
  environment?: Record<string, string>;
};

/** Starts PostgreSQL with the server's own settings (fsync and synchronous_commit on), and registers everybody. */
export async function openStage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'tessera-bench-'));
  // Where root runs the bench, PostgreSQL is another user, which must pass through.
  await chmod(folder, 0o711);
  const opening = openEmbeddedDatabase({ dataDirectory: join(folder, 'data'), logger: silentLogger });
  const processes = new Set<Pick<Process<LoadHandlers>, 'end'>>();
  const servers = new Map<string, Promise<Process<ServerHandlers>>>();
  const seededUrls = new Set<string>();
  let closed: Promise<void> | undefined;

  const close = () => {
    closed ??= (async () => {
      await Promise.all([...processes].map((each) => each.end()));
      await (await opening).destroy();
      rmSync(folder, { recursive: true, force: true });
    })();
    return closed;
  };

  endOnSignal(close);

  try {
    const keyEncryptionKey = newKeyEncryptionKey();
    const { url } = await opening;
    const registry = await createRegistry(serverEnvironment(url, keyEncryptionKey), LANES);
    await createDatabase(url, TEMPLATE, databaseOf(url));

    async function startLoad(): Promise<Process<LoadHandlers>> {
      const load = startProcess<LoadHandlers>('./load.ts', { logFile: join(folder, 'load.log') });
      processes.add(load);
      await load.ask('prepare', registry);
      return load;
    }

    async function startServer(options: ServerOptions): Promise<Process<ServerHandlers>> {
      const adapter = options.adapter ?? 'tessera';
      const database = options.url ?? url;
      const server = startProcess<ServerHandlers>('./server.ts', {
        environment: {
          ...serverEnvironment(database, keyEncryptionKey),
          BENCH_ADAPTER: adapter,
          ...options.environment,
        },
        logFile: '/dev/null',
      });
      processes.add(server);
      if (options.isSeeded) await seed(server, adapter, database);
      return server;
    }

    /** Servers of one store and database share what is in it. */
    async function seed(server: Process<ServerHandlers>, adapter: AdapterName, database: string): Promise<void> {
      const place = `${adapter} ${database}`;
      if (adapter !== 'map' && seededUrls.has(place)) return;
      seededUrls.add(place);
      const owners = { clientIds: registry.clientIds, accountIds: registry.accountIds };
      for (let from = 0; from < TOKENS; from += SEED_STEP) {
        await server.ask('seed', { owners, from, to: Math.min(from + SEED_STEP, TOKENS) });
      }
    }

    return Object.freeze({
      folder,
      registry,
      load: await startLoad(),
      url,
      copyDatabase: (name: string) => createDatabase(url, name, TEMPLATE),
      server(name: string, options: ServerOptions) {
        const server = servers.get(name) ?? startServer(options);
        servers.set(name, server);
        return server;
      },
      startLoad,
      close,
    });
  } catch (error) {
    await close();
    throw error;
  }
}

/** Ctrl-C, too, leaves nothing behind. */
function endOnSignal(close: () => Promise<void>): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      void close().finally(() => process.exit(EXIT_CODE_OF_SIGNAL));
    });
  }
}

/** @param template nobody may be connected to it */
async function createDatabase(url: string, name: string, template: string): Promise<string> {
  await withConnection(databaseAt(url, 'postgres'), (connection) =>
    connection.query(`create database ${name} template ${template}`),
  );
  return databaseAt(url, name);
}

function databaseAt(url: string, name: string): string {
  const other = new URL(url);
  other.pathname = `/${name}`;
  return other.href;
}

function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1);
}
