import { randomBytes } from 'node:crypto';
import {
  type Apis,
  type Clients,
  createApis,
  createClients,
  type MetadataValidator,
  type RegistryAudit,
} from '../../../src/clients/index.ts';
import { type ChangeFeed, createChangeFeed } from '../../../src/database/index.ts';
import type { TestDatabase } from '../../harness/database.ts';
import { unique } from '../../harness/factories.ts';
import { silentLogger } from '../../harness/loggers.ts';

type AuditedChange = { action: string; clientId?: string; identifier?: string; roles?: readonly string[] };

/** A node's registry over a test database. Its clock stands still, so that nothing grows old in a cache by itself. */
export type Registry = {
  clients: Clients;
  apis: Apis;
  changeFeed: ChangeFeed;
  audited: AuditedChange[];
  clock: { now: number };
};

export function openRegistry(
  { database, url }: TestDatabase,
  options: {
    validator?: MetadataValidator;
    audit?: Partial<RegistryAudit>;
    signingAlgorithms?: Partial<Parameters<typeof createApis>[0]['signingAlgorithms']>;
  } = {},
): Registry {
  const audited: AuditedChange[] = [];
  const clock = { now: Date.parse('2026-01-01T00:00:00Z') };
  const changeFeed = createChangeFeed({ url, knex: database.knex, logger: silentLogger });
  const record = async (_: unknown, change: AuditedChange) => {
    audited.push(change);
  };
  const shared = {
    knex: database.knex,
    clock: () => clock.now,
    changeFeed,
    audit: { clientChanged: record, apiChanged: record, ...options.audit },
  };
  const offered = ['RS256', 'ES256'] as const;
  const signingAlgorithms = { offered, signing: async () => offered, ...options.signingAlgorithms };
  const validator = options.validator ?? { validate: async () => ({ ok: true }) as const };
  return {
    clients: createClients({ ...shared, validator }),
    apis: createApis({ ...shared, signingAlgorithms, apiKeysNaming: async () => [] }),
    changeFeed,
    audited,
    clock,
  };
}

export function freshIdentifier(): string {
  return `urn:example:${randomBytes(6).toString('hex')}`;
}

/** Metadata of a confidential client with client credentials; the least that can be registered. */
export function serviceMetadata(clientId = unique('service')) {
  return { client_id: clientId, grant_types: ['client_credentials'] };
}

/** @throws the reason, where it was refused */
export function accepted<T extends { ok: boolean }>(result: T): Extract<T, { ok: true }> {
  if (!result.ok) throw new Error(`refused: ${JSON.stringify(result)}`);
  return result as Extract<T, { ok: true }>;
}
