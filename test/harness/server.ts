import { randomBytes } from 'node:crypto';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { composeDomains, composeServer, type Domains } from '../../src/compose/index.ts';
import { type Clock, loadConfig } from '../../src/config/index.ts';
import { openDatabase } from '../../src/database/index.ts';
import type { Logger } from '../../src/telemetry/index.ts';
import { openTestDatabase } from './database.ts';
import { silentLogger } from './loggers.ts';

export type TestServer = {
  issuer: string;
  /** Where it really listens, whatever it is called: nodes share an issuer, and none listens at an https one. */
  address: string;
  domains: Domains;
  databaseUrl: string;
  keyEncryptionKey: string;
  close(): Promise<void>;
};

export type TestServerOptions = {
  /** Settings by their names in the environment. */
  environment?: Record<string, string>;
  /** Another server's database, to be a second node of it. */
  node?: Pick<TestServer, 'databaseUrl' | 'keyEncryptionKey'>;
  /** Another way to the database for the connection that listens. */
  listenUrl?: string;
  clock?: Clock;
  logger?: Logger;
  /** Whether it does the jobs that are asked for. */
  doesJobs?: boolean;
};

/** Cheap hashes: what is tested is never how slow they are. */
const testSettings = { ARGON2_MEMORY_KIB: '8192', ARGON2_PASSES: '1', LOG_LEVEL: 'silent' };

/** The real server on a real database, listening on a free port of this machine. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const testDatabase = options.node === undefined ? await openTestDatabase() : undefined;
  const databaseUrl = options.node?.databaseUrl ?? testDatabase?.url ?? '';
  const keyEncryptionKey = options.node?.keyEncryptionKey ?? randomBytes(32).toString('base64url');
  const logger = options.logger ?? silentLogger;
  const http = createServer();
  const port = await listen(http);
  const config = loadConfig({
    NODE_ENV: 'test',
    PORT: String(port),
    DATABASE_URL: databaseUrl,
    KEY_ENCRYPTION_KEY: keyEncryptionKey,
    ...testSettings,
    ...options.environment,
  });
  const database = openDatabase({ url: databaseUrl, poolSize: config.database.poolSize, logger });
  const domains = await composeDomains(config, {
    logger,
    opened: { database, directUrl: options.listenUrl ?? databaseUrl, close: () => database.close() },
    actor: { kind: 'system' },
    ...(options.clock === undefined ? undefined : { clock: options.clock }),
  });
  const server = await composeServer(config, domains);
  await domains.changes.start();
  if (options.doesJobs) await server.jobs.start();
  http.on('request', server.handler);
  return {
    issuer: config.issuer,
    address: `http://localhost:${port}`,
    domains,
    databaseUrl,
    keyEncryptionKey,
    async close() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      await server.jobs.stop();
      await domains.close();
      await testDatabase?.close();
    },
  };
}

async function listen(http: HttpServer): Promise<number> {
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return (http.address() as AddressInfo).port;
}
