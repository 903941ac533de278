import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { composeDomains, composeServer, type Domains } from '../../src/compose/index.ts';
import { type Clock, loadConfig } from '../../src/config/index.ts';
import { openDatabase } from '../../src/database/index.ts';
import type { Logger } from '../../src/telemetry/index.ts';
import { createAuthority, createServerCertificate, type TestCertificate } from './certificates.ts';
import { openTestDatabase } from './database.ts';
import { freshFolder } from './fresh-folder.ts';
import { silentLogger } from './loggers.ts';
import { freePort } from './process.ts';

export type TlsFolder = Readonly<{
  /** Of the server. */
  authority: TestCertificate;
  /** Settings that name the files. */
  environment: Record<string, string>;
  /** Writes another certificate of the server. */
  write(certificate: Pick<TestCertificate, 'cert' | 'key'>): void;
  remove(): void;
}>;

/** The files of a server that ends TLS itself. @param clientCa the authority of its clients' certificates */
export function createTlsFolder(clientCa?: TestCertificate): TlsFolder {
  const folder = freshFolder('tls');
  const authority = createAuthority('Server Authority');
  const path = (name: string) => join(folder.path, name);
  function write({ cert, key }: Pick<TestCertificate, 'cert' | 'key'>): void {
    writeFileSync(path('cert.pem'), cert);
    writeFileSync(path('key.pem'), key);
  }
  write(createServerCertificate({ issuer: authority }));
  if (clientCa !== undefined) writeFileSync(path('clients.pem'), clientCa.cert);
  return {
    authority,
    environment: {
      TLS_CERT_FILE: path('cert.pem'),
      TLS_KEY_FILE: path('key.pem'),
      ...(clientCa === undefined ? undefined : { MTLS_CA_FILE: path('clients.pem') }),
    },
    write,
    remove: folder.remove,
  };
}

export type TlsServer = Readonly<{
  issuer: string;
  /** Where clients are asked for certificates. */
  mtlsUrl: string;
  /** Of its own certificate, in PEM. */
  ca: string;
  domains: Domains;
  close(): Promise<void>;
}>;

/** The real server with ports of its own that speak TLS. */
export async function startTlsServer(
  options: { clientCa?: TestCertificate; clock?: Clock; logger?: Logger } = {},
): Promise<TlsServer> {
  const { logger = silentLogger } = options;
  const folder = createTlsFolder(options.clientCa);
  const testDatabase = await openTestDatabase();
  const [port, mtlsPort] = [await freePort(), await freePort()];
  const config = loadConfig({
    NODE_ENV: 'test',
    PORT: String(port),
    HOST: '127.0.0.1',
    MTLS_PORT: String(mtlsPort),
    DATABASE_URL: testDatabase.url,
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64url'),
    ARGON2_MEMORY_KIB: '8192',
    ARGON2_PASSES: '1',
    ...folder.environment,
  });
  const database = openDatabase({ url: testDatabase.url, poolSize: config.database.poolSize, logger });
  const domains = await composeDomains(config, {
    logger,
    opened: { database, directUrl: testDatabase.url, close: () => database.close() },
    actor: { kind: 'system' },
    ...(options.clock === undefined ? undefined : { clock: options.clock }),
  });
  const server = await composeServer(config, domains);
  await server.start();
  return {
    issuer: config.issuer,
    mtlsUrl: config.mtls?.baseUrl ?? '',
    ca: folder.authority.cert,
    domains,
    async close() {
      await server.stop();
      await testDatabase.close();
      folder.remove();
    },
  };
}
