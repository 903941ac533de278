import type { ApiKey, ApiKeyOwner, ApiKeys } from '../../src/api-keys/index.ts';
import type { Api } from '../../src/clients/index.ts';
import type { Domains } from '../../src/compose/index.ts';
import { createServiceClient, createTestAccount, createTestApi, type TestClient } from './factories.ts';
import type { Answer } from './token-requests.ts';

type NewApiKey = Parameters<ApiKeys['create']>[0];

/** A key in all its forms: whole, and as the client that it is. */
export type TestApiKey = { apiKey: ApiKey; key: string; id: string; secret: string };

/** The key as a client: the id and secret that it authenticates with by Basic. */
export function asClient(key: string): { id: string; secret: string } {
  const [prefix, id, secret = ''] = key.split('_');
  return { id: `${prefix}_${id}`, secret };
}

export async function createTestApiKey(
  { apiKeys }: Pick<Domains, 'apiKeys'>,
  input: Omit<NewApiKey, 'name'>,
): Promise<TestApiKey> {
  const created = await apiKeys.create({ name: 'Test key', ...input });
  if (!created.ok) throw new Error(created.reason);
  return { apiKey: created.apiKey, key: created.key, ...asClient(created.key) };
}

export type KeySetup = {
  api: Api;
  read: string;
  write: string;
  /** Guards the API: may introspect what is for it. */
  guard: TestClient;
  /** Who owns the key: a client with both scopes, or an account. */
  owner: ApiKeyOwner;
  ownerId: string;
  /** Of the owner, where that is a client. */
  service: TestClient;
};

/** An API with two scopes and a guard, and somebody who may have keys for it. */
export async function setUpForKeys(
  domains: Domains,
  kind: ApiKeyOwner['kind'] = 'client',
  input: Parameters<typeof createTestApi>[1] = {},
): Promise<KeySetup> {
  const guard = await createServiceClient(domains, 'openid');
  const api = await createTestApi(domains, { introspectionClientIds: [guard.id], ...input });
  const [read = '', write = ''] = api.scopes.map(({ scope }) => scope);
  const service = await createServiceClient(domains, `${read} ${write}`);
  if (kind === 'client') {
    return { api, read, write, guard, service, owner: { kind, clientId: service.id }, ownerId: service.id };
  }
  const { account } = await createTestAccount(domains);
  return { api, read, write, guard, service, owner: { kind, accountId: account.id }, ownerId: account.id };
}

/** Client credentials with the whole key as bearer. */
export async function tokenByBearer(
  address: string,
  authorization: string,
  parameters: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${address}/token`, {
    method: 'POST',
    headers: { authorization, accept: 'application/json' },
    body: new URLSearchParams({ grant_type: 'client_credentials', ...parameters }),
  });
  return {
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
    headers: response.headers,
  };
}
