/** What all servers under test have in common: clients, people and APIs. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { parseApiKey, toApiKeyClientId } from '../src/api-keys/index.ts';
import { composeDomains } from '../src/compose/index.ts';
import { loadConfig } from '../src/config/index.ts';
import { migrateUp, openDatabase } from '../src/database/index.ts';
import { silentLogger } from '../test/harness/loggers.ts';
import { createKnexTable } from './knex-adapter.ts';
import type { Owners } from './seeded-artifacts.ts';

/** One scope for each format of token; each belongs to an API of its own. */
export const SCOPES = { opaque: 'bench:opaque', rs256: 'bench:rs256', es256: 'bench:es256' } as const;

export const REDIRECT_URI = 'https://app.bench.example/callback';
export const PASSWORD = 'correct horse battery staple';
const PEOPLE = 10_000;
const CLIENTS = 1_000;
/** Registrations that run at once. */
const CONCURRENCY = 8;

export type BenchClient = { id: string; secret: string };
/** An API key, whole and as the client that it is. */
export type BenchApiKey = BenchClient & { key: string };
export type Registry = Owners & {
  /** Confidential, for every grant. */
  clients: readonly BenchClient[];
  /** One of each confidential client's, in their order, for the opaque scope. */
  apiKeys: readonly BenchApiKey[];
  /** Public, one for each person who goes through the code flow. */
  publicClientIds: readonly string[];
  /** Who signs in, with `PASSWORD`. */
  logins: readonly string[];
};

/** The environment of a production server, as every server under test has it; the log goes to standard output. */
export function serverEnvironment(databaseUrl: string, keyEncryptionKey: string): Record<string, string> {
  return {
    NODE_ENV: 'production',
    ALLOW_HTTP_ISSUER: 'true',
    DATABASE_URL: databaseUrl,
    KEY_ENCRYPTION_KEY: keyEncryptionKey,
    // The cheapest that production allows: signing in is not what is measured.
    ARGON2_MEMORY_KIB: '19456',
    ARGON2_PASSES: '1',
    SIGN_IN_ATTEMPTS_PER_ADDRESS: '1000000',
    TOKEN_CACHE_SIZE: '0',
  };
}

/** Migrates a database and registers everybody. @param publicClients how many people go through the code flow */
export async function createRegistry(environment: Record<string, string>, publicClients: number): Promise<Registry> {
  const url = environment.DATABASE_URL ?? '';
  const config = loadConfig({ ...environment, ISSUER: 'http://localhost:3000' });
  const database = openDatabase({ url, poolSize: config.database.poolSize, logger: silentLogger });
  await migrateUp(database.knex);
  await createKnexTable(database.knex);
  const domains = await composeDomains(config, {
    logger: silentLogger,
    opened: { database, directUrl: url, close: () => database.close() },
    actor: { kind: 'system' },
  });
  try {
    for (const [name, scope] of Object.entries(SCOPES)) {
      must(
        await domains.apis.create({
          identifier: `urn:bench:${name}`,
          scopes: [scope],
          tokenFormat: name === 'opaque' ? 'opaque' : 'jwt',
          ...(name === 'opaque' ? undefined : { signingAlgorithm: name === 'es256' ? 'ES256' : 'RS256' }),
        }),
      );
    }
    const common = {
      redirect_uris: [REDIRECT_URI],
      response_types: ['code' as const],
      scope: `openid profile offline_access ${Object.values(SCOPES).join(' ')}`,
    };
    const clients = await concurrently(CLIENTS, async (index) => {
      const id = `bench-${index}`;
      const created = must(
        await domains.clients.create({
          metadata: {
            ...common,
            client_id: id,
            client_name: id,
            grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
            token_endpoint_auth_method: 'client_secret_basic',
          },
        }),
      );
      return { id, secret: created.secret ?? '' };
    });
    const apiKeys = await concurrently(CLIENTS, async (index) => {
      const { key } = must(
        await domains.apiKeys.create({
          name: `bench ${index}`,
          owner: { kind: 'client', clientId: `bench-${index}` },
          scopes: [SCOPES.opaque],
        }),
      );
      const { id = '', secret = '' } = parseApiKey(key) ?? {};
      return { key, id: toApiKeyClientId(id), secret };
    });
    const publicClientIds = await concurrently(publicClients, async (index) => {
      const id = `bench-app-${index}`;
      must(
        await domains.clients.create({
          metadata: {
            ...common,
            client_id: id,
            client_name: id,
            scope: 'openid profile offline_access',
            grant_types: ['authorization_code', 'refresh_token'],
            token_endpoint_auth_method: 'none',
          },
        }),
      );
      return id;
    });
    must(await domains.accounts.create({ email: 'person-0@bench.example', password: PASSWORD, profile: {} }));
    return {
      clients,
      apiKeys,
      clientIds: clients.map(({ id }) => id),
      publicClientIds,
      accountIds: await copyPerson(url),
      logins: publicClientIds.map((_, index) => `person-${index}@bench.example`),
    };
  } finally {
    await domains.close();
  }
}

export function newKeyEncryptionKey(): string {
  return randomBytes(32).toString('base64url');
}

/** Thousands of people with one password hash: making each of their own would take minutes. @returns their ids */
async function copyPerson(url: string): Promise<string[]> {
  return withConnection(url, async (connection) => {
    await connection.query(
      `insert into accounts (id, email, is_email_verified, profile, password_hash, created_at, updated_at)
       select gen_random_uuid(), 'person-' || number || '@bench.example', is_email_verified, profile, password_hash,
         created_at, updated_at from accounts, generate_series(1, $1) as number`,
      [PEOPLE - 1],
    );
    const { rows } = await connection.query<{ id: string }>('select id from accounts order by id');
    return rows.map(({ id }) => id);
  });
}

/** On a connection of its own, without limits of time. */
export async function withConnection<T>(url: string, work: (connection: pg.Client) => Promise<T>): Promise<T> {
  const connection = new pg.Client({ connectionString: url });
  await connection.connect();
  try {
    return await work(connection);
  } finally {
    await connection.end();
  }
}

async function concurrently<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const index = next;
      next += 1;
      results[index] = await work(index);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return results;
}

function must<T extends { ok: boolean }>(result: T | { ok: false; reason: string }): Extract<T, { ok: true }> {
  if (!result.ok) throw new Error('reason' in result ? String(result.reason) : 'refused');
  return result as Extract<T, { ok: true }>;
}
