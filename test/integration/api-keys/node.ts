import { randomUUID } from 'node:crypto';
import type { NewApiKey } from '../../../src/api-keys/api-key.ts';
import { type ApiKeys, createApiKeys } from '../../../src/api-keys/index.ts';
import { type ChangeFeed, createChangeFeed } from '../../../src/database/index.ts';
import type { TestDatabase } from '../../harness/database.ts';
import { unique } from '../../harness/factories.ts';
import { silentLogger } from '../../harness/loggers.ts';

export const API = 'urn:example:orders';
export const SCOPE = 'orders:read';

/** A node's API keys over a test database. Its clock stands still, so that nothing grows old in a cache by itself. */
export type ApiKeysNode = {
  apiKeys: ApiKeys;
  changeFeed: ChangeFeed;
  audited: { action: string; id: string; owner: unknown; by?: unknown }[];
  clock: { now: number };
};

export function openNode(
  { database, url }: TestDatabase,
  options: { record?: () => Promise<void>; flushSeconds?: number } = {},
): ApiKeysNode {
  const audited: ApiKeysNode['audited'] = [];
  const clock = { now: Date.parse('2026-11-25T12:00:00Z') };
  const changeFeed = createChangeFeed({ url, knex: database.knex, logger: silentLogger });
  const apiKeys = createApiKeys({
    knex: database.knex,
    clock: () => clock.now,
    changeFeed,
    audit: {
      async apiKeyChanged(_, change, by) {
        await options.record?.();
        audited.push(by === undefined ? change : { ...change, by });
      },
    },
    owners: {
      findClient: async () => ({ grantTypes: ['client_credentials'], scopes: [SCOPE], apis: [], apiScopes: {} }),
      findAccount: async () => ({ isDisabled: false }),
      listApis: async () => [{ identifier: API, scopes: [SCOPE] }],
      holdApis: async () => undefined,
    },
    // Never by itself in a test, unless it is told to.
    flushSeconds: options.flushSeconds ?? 3_600,
    logger: silentLogger,
  });
  return { apiKeys, changeFeed, audited, clock };
}

/** A client of the table alone. */
export async function insertClient({ database }: TestDatabase, id = unique('service')): Promise<string> {
  const at = new Date();
  await database.knex('clients').insert({ id, metadata: '{}', created_at: at, updated_at: at });
  return id;
}

export async function insertAccount({ database }: TestDatabase): Promise<string> {
  const at = new Date();
  const id = randomUUID();
  const email = `${unique('person')}@example.com`;
  await database.knex('accounts').insert({ id, email, password_hash: 'x', created_at: at, updated_at: at });
  return id;
}

export async function createKey(node: Pick<ApiKeysNode, 'apiKeys'>, clientId: string, input: Partial<NewApiKey> = {}) {
  const owner = { kind: 'client', clientId } as const;
  const created = await node.apiKeys.create({ name: 'test', owner, scopes: [SCOPE], ...input });
  if (!created.ok) throw new Error(created.reason);
  const { key, apiKey } = created;
  return { key, apiKey, id: apiKey.id, secret: key.slice(-49) };
}
