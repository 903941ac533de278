/**
 * Starts the server over TLS with a certificate, clients and a person that are good for this run alone, and prints what a
 * certification suite has to be told, as one JSON value (docs/certification.md). Ends at SIGINT or SIGTERM, and leaves nothing.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { composeDomains, composeServer, openEnvironmentDatabase } from '../../../src/compose/index.ts';
import { loadConfig } from '../../../src/config/index.ts';
import { createLogger } from '../../../src/telemetry/index.ts';
import { createServerCertificate } from '../../harness/certificates.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { registerSuite } from './suite-clients.ts';
import { readSuiteSettings } from './suite-settings.ts';

const { values } = parseArgs({ options: { config: { type: 'string' } } });
const settings = readSuiteSettings(values.config ?? new URL('./suite.json', import.meta.url));
const { host, port, mtlsPort } = settings;

const folder = freshFolder('certification');
const certificate = createServerCertificate({ alternativeNames: [{ dNSName: host }] });
const path = (name: string) => join(folder.path, name);
writeFileSync(path('cert.pem'), certificate.cert);
writeFileSync(path('key.pem'), certificate.key, { mode: 0o600 });

const config = loadConfig({
  NODE_ENV: 'test',
  ISSUER: `https://${host}:${port}`,
  HOST: '0.0.0.0',
  PORT: String(port),
  MTLS_PORT: String(mtlsPort),
  TLS_CERT_FILE: path('cert.pem'),
  TLS_KEY_FILE: path('key.pem'),
  DATA_DIR: path('data'),
  DATABASE_URL: process.env.DATABASE_URL,
  RESPONSE_TYPES: 'code,id_token,id_token token,code id_token,code token,code id_token token',
  OUTBOUND_PRIVATE_RANGES: settings.privateRanges.join(','),
  LOG_LEVEL: process.env.LOG_LEVEL ?? 'warn',
});
const logger = createLogger(config, process.stderr);
const opened = await openEnvironmentDatabase(config, logger);
const domains = await composeDomains(config, { logger, opened, actor: { kind: 'system' } });
const suite = await registerSuite(domains, settings);
const server = await composeServer(config, domains);
await server.start();

async function stop(): Promise<void> {
  await server.stop();
  folder.remove();
  process.exit(0);
}
process.once('SIGINT', stop);
process.once('SIGTERM', stop);

const discoveryUrl = `${config.issuer}/.well-known/openid-configuration`;
process.stdout.write(
  `${JSON.stringify({ server: { discoveryUrl }, certificate: path('cert.pem'), ...suite }, undefined, 2)}\n`,
);
