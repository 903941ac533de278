import { type Accounts, createAccounts, createPasswordHasher } from '../accounts/index.ts';
import { type ApiKeys, createApiKeys, toApiKeyClientId } from '../api-keys/index.ts';
import { type Audit, type AuditActor, type AuditContext, createAudit } from '../audit/index.ts';
import {
  type Apis,
  type ClientBlocks,
  type Clients,
  createApis,
  createClientBlocks,
  createClients,
  createRegistrationTokens,
  MAX_API_TTL_SECONDS,
  type RegistrationTokens,
  type RegistryAudit,
} from '../clients/index.ts';
import { type Clock, type Config, systemClock } from '../config/index.ts';
import { type ChangeFeed, createChangeFeed, type Database, ensureSchema } from '../database/index.ts';
import { enqueue } from '../jobs/index.ts';
import { signingAlgorithms } from '../keys/index.ts';
import {
  type ConsentsStore,
  createAccountNotices,
  createConsentsStore,
  createMetadataValidator,
  endAccess,
  endToken,
  type KeepNotice,
} from '../oidc/index.ts';
import { settleDemoData } from '../playground/index.ts';
import type { Logger } from '../telemetry/index.ts';
import {
  type ArtifactCounts,
  type ArtifactStore,
  createPostgresArtifactStore,
  createRevocations,
  endManagementTokens,
  type RevocationFilter,
  type Revocations,
  sessionClientsOf,
} from '../tokens/index.ts';
import { apiKeyAudit, apiKeyOwners, ownerAudits } from './api-keys.ts';
import { type ApiKeyEndings, createApiKeyEndings } from './end-api-key.ts';
import type { OpenedDatabase } from './environment-database.ts';
import { composeKeys, type Keys } from './keys.ts';
import { LOGOUT_QUEUE } from './logout-work.ts';

/** Everything below the protocol, as the server and the command line both want it. */
export type Domains = Keys &
  ApiKeyEndings &
  Readonly<{
    logger: Logger;
    clock: Clock;
    database: Database;
    directUrl: string;
    changes: ChangeFeed;
    audit: Audit;
    accounts: Accounts;
    clients: Clients;
    clientBlocks: ClientBlocks;
    apis: Apis;
    apiKeys: ApiKeys;
    registrationTokens: RegistrationTokens;
    consents: ConsentsStore;
    /** As they are now: the first signs, each verifies. */
    cookieKeys(): readonly string[];
    artifacts: ArtifactStore & Readonly<{ counts(): ArtifactCounts }>;
    revocations: Revocations;
    keepLogoutNotice: KeepNotice;
    /**
     * Ends grants, sessions and tokens of an account, a client or a grant on every node (src/oidc/end-access.ts), and tokens
     * that were got with an API key of such an owner.
     * @returns how many that are stored ended
     */
    endAccess(whose: RevocationFilter, by?: AuditContext): Promise<number>;
    /**
     * Deletes a client with everything that it has: grants, tokens, keys, and what it managed itself with.
     *
     * @param options.isUnused only where it registered itself and was never used; else `not_found`
     */
    deleteClient(
      id: string,
      options?: { by?: AuditContext; isUnused?: boolean },
    ): Promise<
      | { ok: true; formerIntrospectionApis: string[]; revoked: number }
      | Extract<Awaited<ReturnType<Clients['delete']>>, { ok: false }>
    >;
    /** Ends one token by its value, and a person's with its grant. @returns how many ended; 0: there is no such token */
    endToken(value: string, by?: AuditContext): Promise<number>;
    close(): Promise<void>;
  }>;

/**
 * Builds the domains on a database that is up to date: migrated here in development, by an operator in production.
 *
 * @param options.actor who changes things through these domains, for the audit trail
 * @param options.isCommand where a person waits for one thing: keys and secrets stay sealed until `openKeys`, as most things
 *   can be done without them, and some must be while whoever opens them is away
 * @param options.isPrepared whether another process has migrated just now
 */
export async function composeDomains(
  config: Config,
  options: {
    logger: Logger;
    opened: OpenedDatabase;
    actor: AuditActor;
    clock?: Clock;
    isCommand?: boolean;
    isPrepared?: boolean;
  },
): Promise<Domains> {
  const { logger, opened, actor, isCommand = false, isPrepared = false } = options;
  const clock = options.clock ?? systemClock;
  const { database, directUrl } = opened;
  const { knex } = database;
  // A command must not change a schema in passing, least of all that of a production database without NODE_ENV.
  const isDevelopersServer = !config.isProduction && actor.kind === 'system';
  const migrates = !isPrepared && (isDevelopersServer || config.database.url === undefined);
  await ensureSchema(knex, { migrates, logger });

  const changes = createChangeFeed({ url: directUrl, knex, logger });
  const audit = createAudit({ knex, clock, logger });
  const keyAudit: Pick<Audit, 'recordWithin'> = {
    recordWithin: (trx, event) => audit.recordWithin(trx, event, { actor }),
  };
  const keys = await composeKeys(config, { knex, audit: keyAudit, isCommand });
  const { signingKeys, serverSecrets } = keys;
  if (!isCommand) await keys.openKeys();
  const cookieKeys = () => config.cookieKeys ?? serverSecrets.current().cookieKeys;

  const consents = createConsentsStore({ knex, clock });
  const ownerAudit = ownerAudits(audit, { actor, keysOf: () => apiKeys });
  const accounts = createAccounts({
    knex,
    changeFeed: changes,
    hasher: createPasswordHasher({ parameters: config.passwordHash }),
    audit: ownerAudit,
    logger,
    clock,
  });
  const registryAudit: RegistryAudit = {
    clientChanged: ownerAudit.clientChanged,
    apiChanged: (trx, { action, identifier }) =>
      audit.recordWithin(trx, { type: `api.${action}`, resource: identifier }, { actor }),
  };
  const apis = createApis({
    knex,
    clock,
    changeFeed: changes,
    audit: registryAudit,
    signingAlgorithms: {
      offered: config.keyPolicy.algorithms,
      signing: signingAlgorithms,
    },
    apiKeysNaming: async (trx, identifier) => (await apiKeys.idsNaming(trx, identifier)).map(toApiKeyClientId),
  });
  const validator = createMetadataValidator(async () => {
    const [{ privateJwks, algorithms }] = await Promise.all([
      signingKeys.loadAvailable(),
      // An API that another node made a moment ago counts, too.
      apis.load(),
    ]);
    const { dpopNonceSecret, pairwiseSecret } = serverSecrets.current();
    const secrets = { cookieKeys: cookieKeys(), dpopNonceSecret, pairwiseSecret };
    return {
      config,
      accounts,
      apis,
      consents,
      signingKeys: privateJwks,
      signingAlgorithms: algorithms,
      ...secrets,
    };
  });
  const clients: Clients = createClients({ knex, clock, changeFeed: changes, audit: registryAudit, validator });
  const clientBlocks = createClientBlocks({ knex, clock, changeFeed: changes, audit: registryAudit });
  const registrationTokens = createRegistrationTokens({
    knex,
    clock,
    audit: {
      registrationTokenChanged: (trx, { action, id }) =>
        audit.recordWithin(trx, { type: `registration_token.${action}`, registrationId: id }, { actor }),
    },
  });
  const apiKeys = createApiKeys({
    knex,
    clock,
    changeFeed: changes,
    audit: apiKeyAudit(audit, { actor }),
    owners: apiKeyOwners({ accounts, clients, apis }),
    flushSeconds: config.apiKeyFlushSeconds,
    logger,
  });
  await apis.load();
  const artifacts = createPostgresArtifactStore({
    pool: database.pool,
    // Asked when they are used: tokens and grants are found and ended without.
    sealer: {
      seal: (text, context) => serverSecrets.current().artifactSealer.seal(text, context),
      unseal: (sealed, context) => serverSecrets.current().artifactSealer.unseal(sealed, context),
    },
    userCodeKey: () => serverSecrets.current().userCodeKey,
    clock,
    cache: { size: config.tokenCacheSize, dropFeed: changes, now: () => performance.now() },
  });
  const revocations = createRevocations({
    knex,
    changeFeed: changes,
    clock,
    longestTokenSeconds: Math.max(MAX_API_TTL_SECONDS, config.lifetimes.accessTokenSeconds),
  });
  const keepLogoutNotice: KeepNotice = (notice) => enqueue(knex, LOGOUT_QUEUE, notice);
  const tellClientsOf = createAccountNotices({
    clients,
    sessionClientsOf: (accountId) => sessionClientsOf(database.pool, accountId, clock()),
    keep: keepLogoutNotice,
  });
  const access = { config, clock, audit, tellClientsOf, apiKeys, artifacts, consents, revocations, signingKeys };
  const endAccessOf: Domains['endAccess'] = (whose, by = { actor }) => endAccess(access, whose, by);

  return {
    logger,
    clock,
    database,
    directUrl,
    changes,
    audit,
    accounts,
    clients,
    clientBlocks,
    apis,
    apiKeys,
    registrationTokens,
    consents,
    ...keys,
    cookieKeys,
    artifacts,
    revocations,
    keepLogoutNotice,
    endAccess: endAccessOf,
    async deleteClient(id, { by = { actor }, isUnused } = {}) {
      const deleted = await clients.delete(id, { by, isUnused });
      if (!deleted.ok) return deleted;
      await endManagementTokens(database.pool, id);
      return { ...deleted, revoked: await endAccessOf({ clientId: id }, by) };
    },
    ...createApiKeyEndings({ apiKeys, endAccess: endAccessOf }),
    endToken: (value, by = { actor }) => endToken(access, value, by),
    async close() {
      await changes.close();
      await apiKeys.close();
      await artifacts.close();
      await revocations.close();
      await audit.close();
      await opened.close();
    },
  };
}

/**
 * Does once what several processes on one machine want to find done: schema, keys, secrets and demo data. The database stays
 * open.
 */
export async function prepareDatabase(
  config: Config,
  { logger, opened }: { logger: Logger; opened: OpenedDatabase },
): Promise<void> {
  const domains = await composeDomains(config, {
    logger,
    opened: { ...opened, close: async () => undefined },
    actor: { kind: 'system' },
  });
  try {
    await settleDemoData(config, domains);
  } finally {
    await domains.close();
  }
}
