import type Koa from 'koa';
import { type Accounts, createAccounts, createPasswordHasher } from './accounts/index.ts';
import { createApp, viewsDirectory } from './app.ts';
import { type Audit, type AuditActor, createAudit } from './audit/index.ts';
import { type Apis, type Clients, createApis, createClients } from './clients/index.ts';
import { type Clock, type Config, systemClock } from './config/index.ts';
import { openEmbeddedDatabase } from './database/embedded/index.ts';
import {
  assertSupportedServer,
  type ChangeFeed,
  createChangeFeed,
  type Database,
  migrateUp,
  migrationStatus,
  openDatabase,
} from './database/index.ts';
import { AppError } from './errors.ts';
import { createCsrf, createPages, createViews } from './http/index.ts';
import { createProviderPages, interactionRoutes } from './interactions/index.ts';
import {
  createKeyWrapper,
  createSigningKeys,
  developmentKeyEncryptionKey,
  ensureServerSecrets,
  type ServerSecrets,
  type SigningKeys,
} from './keys/index.ts';
import { createSignInLimits } from './limits/index.ts';
import { type ConsentsStore, createConsentsStore, createMetadataValidator, createOidc } from './oidc/index.ts';
import type { Logger } from './telemetry/index.ts';
import { type ArtifactStore, createPostgresArtifactStore } from './tokens/index.ts';

/** The database of the environment: at DATABASE_URL, else the embedded one, started where it is not running. */
export type OpenedDatabase = Readonly<{
  database: Database;
  /** For LISTEN, migrations and jobs. */
  directUrl: string;
  close(): Promise<void>;
}>;

/** Everything below the protocol, as the server and the command line both want it. */
export type Domains = Readonly<{
  logger: Logger;
  database: Database;
  directUrl: string;
  changes: ChangeFeed;
  audit: Audit;
  accounts: Accounts;
  clients: Clients;
  apis: Apis;
  consents: ConsentsStore;
  signingKeys: SigningKeys;
  secrets: ServerSecrets;
  cookieKeys: readonly string[];
  artifacts: ArtifactStore;
  close(): Promise<void>;
}>;

/** @throws {AppError} `database_unavailable` or `configuration`, with one clear line */
export async function openEnvironmentDatabase(config: Config, logger: Logger): Promise<OpenedDatabase> {
  const embedded =
    config.database.url === undefined
      ? await openEmbeddedDatabase({ dataDirectory: config.dataDirectory, logger })
      : undefined;
  const url = config.database.url ?? embedded?.url ?? '';
  const database = openDatabase({ url, poolSize: config.database.poolSize, logger });
  const close = async () => {
    await database.close();
    await embedded?.close();
  };
  try {
    await assertSupportedServer(database.knex);
  } catch (error) {
    await close();
    throw error;
  }
  return { database, directUrl: config.database.directUrl ?? url, close };
}

/**
 * Builds the domains on a database that is up to date: migrated here in development, by an operator in production.
 *
 * @param options.actor who changes things through these domains, for the audit trail
 */
export async function composeDomains(
  config: Config,
  options: { logger: Logger; opened: OpenedDatabase; actor: AuditActor; clock?: Clock },
): Promise<Domains> {
  const { logger, opened, actor } = options;
  const clock = options.clock ?? systemClock;
  const { database, directUrl } = opened;
  const { knex } = database;
  await assureSchema(config, database, logger);

  const changes = createChangeFeed({ url: directUrl, knex, logger });
  const audit = createAudit({ knex, clock, logger });
  const wrapper = createKeyWrapper({
    keyEncryptionKeys: config.keyEncryptionKeys ?? [await developmentKeyEncryptionKey(config.dataDirectory)],
  });
  const secrets = await ensureServerSecrets({ knex, wrapper, clock });
  const cookieKeys = config.cookieKeys ?? secrets.cookieKeys;
  const signingKeys = createSigningKeys({ knex, wrapper, clock, audit });
  await signingKeys.ensure();

  const accounts = createAccounts({
    knex,
    changes,
    hasher: createPasswordHasher({ parameters: config.passwordHash }),
    audit: {
      accountChanged: (trx, { action, accountId }) =>
        audit.recordWithin(trx, { type: `account.${action}`, accountId }, { actor }),
    },
    logger,
    clock,
  });
  const registryAudit: Parameters<typeof createApis>[0]['audit'] = {
    clientChanged: (trx, { action, clientId }) =>
      audit.recordWithin(trx, { type: `client.${action}`, clientId }, { actor }),
    apiChanged: (trx, { action, identifier }) =>
      audit.recordWithin(trx, { type: `api.${action}`, resource: identifier }, { actor }),
  };
  const apis = createApis({ knex, clock, changeFeed: changes, audit: registryAudit });
  const consents = createConsentsStore({ knex, clock });
  const validator = createMetadataValidator(async () => {
    const { privateJwks } = await signingKeys.load();
    return { config, accounts, apis, clients, consents, cookieKeys, signingKeys: privateJwks };
  });
  const clients: Clients = createClients({ knex, clock, changeFeed: changes, audit: registryAudit, validator });
  await apis.load();
  const artifacts = createPostgresArtifactStore({
    pool: database.pool,
    sealer: secrets.artifactSealer,
    userCodeKey: secrets.userCodeKey,
    clock,
  });

  return {
    logger,
    database,
    directUrl,
    changes,
    audit,
    accounts,
    clients,
    apis,
    consents,
    signingKeys,
    secrets,
    cookieKeys,
    artifacts,
    async close() {
      await changes.close();
      await artifacts.close();
      await audit.close();
      await opened.close();
    },
  };
}

/** Development migrates by itself; in production a schema changes when an operator says so. */
async function assureSchema(config: Config, database: Database, logger: Logger): Promise<void> {
  if (!config.isProduction) {
    const applied = await migrateUp(database.knex);
    if (applied.length > 0) logger.info({ migrations: applied.length }, 'the database schema is up to date');
    return;
  }
  const { pending } = await migrationStatus(database.knex);
  if (pending.length === 0) return;
  throw new AppError({
    code: 'configuration',
    message: `DATABASE_URL wants ${pending.length} migration(s) first: run "tessera migrate up"`,
  });
}

export type Server = Readonly<{ app: Koa; domains: Domains }>;

/** Builds the whole server on its domains, ready to listen. */
export async function composeServer(config: Config, domains: Domains): Promise<Server> {
  const { accounts, clients, apis, audit, changes, secrets } = domains;
  const isSecure = config.issuer.startsWith('https:');
  const pages = createPages({ views: createViews({ viewsDirectory }) });
  const csrf = createCsrf({ key: secrets.csrfKey, isSecure });
  const limits = createSignInLimits({
    pool: domains.database.pool,
    limits: config.signInLimits,
    pseudonymKey: secrets.csrfKey,
    logger: domains.logger,
  });
  const oidc = await createOidc({ ...domains, config, pages: createProviderPages({ pages, clients, accounts }) });
  apis.onChange(() => oidc.rebuild());
  changes.subscribe('keys', () => oidc.rebuild());
  await changes.start();
  const app = createApp({
    config,
    cookieKeys: domains.cookieKeys,
    pages,
    requestLog: (_, next) => next(),
    health: (_, next) => next(),
    interactions: interactionRoutes({ steps: oidc.steps, accounts, apis, clients, limits, audit, csrf, pages }),
    playground: undefined,
    oidc: oidc.middleware,
  });
  return { app, domains };
}
