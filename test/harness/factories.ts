import { randomBytes } from 'node:crypto';
import type { Account } from '../../src/accounts/index.ts';
import type { Api, NewApi, NewClient, RegisteredClient } from '../../src/clients/index.ts';
import type { Domains } from '../../src/compose/index.ts';

export const REDIRECT_URI = 'https://app.example.com/callback';
export const PASSWORD = 'correct horse battery staple';

/** A name that no other test uses. */
export function unique(prefix: string): string {
  return `${prefix}-${randomBytes(6).toString('hex')}`;
}

export type TestClient = { id: string; secret: string; client: RegisteredClient };

/** A confidential web client that may do everything, unless told otherwise. */
export async function createTestClient(
  { clients }: Pick<Domains, 'clients'>,
  input: Omit<NewClient, 'metadata'> & { metadata?: Partial<NewClient['metadata']> } = {},
): Promise<TestClient> {
  const id = input.metadata?.client_id ?? unique('client');
  const created = await clients.create({
    ...input,
    metadata: {
      client_id: id,
      client_name: 'Test App',
      redirect_uris: [REDIRECT_URI],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
      scope: 'openid profile email address phone offline_access',
      ...input.metadata,
    },
  });
  if (!created.ok) throw new Error(created.reason);
  return { id, secret: created.secret ?? '', client: created.client };
}

/** A client for client credentials alone. */
export function createServiceClient(
  domains: Pick<Domains, 'clients'>,
  scope: string,
  input: Omit<NewClient, 'metadata'> & { metadata?: Partial<NewClient['metadata']> } = {},
): Promise<TestClient> {
  const metadata = {
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    scope,
    ...input.metadata,
  };
  return createTestClient(domains, { ...input, metadata });
}

export async function createTestAccount(
  { accounts }: Pick<Domains, 'accounts'>,
  profile: Account['profile'] = {},
): Promise<{ account: Account; login: string; password: string }> {
  const email = `${unique('person')}@example.com`;
  const created = await accounts.create({ email, password: PASSWORD, isEmailVerified: true, profile });
  if (!created.ok) throw new Error(created.reason);
  return { account: created.account, login: email, password: PASSWORD };
}

export async function createTestApi({ apis }: Pick<Domains, 'apis'>, input: Partial<NewApi> = {}): Promise<Api> {
  const name = unique('api');
  const created = await apis.create({
    identifier: `urn:test:${name}`,
    scopes: [`${name}:read`, `${name}:write`],
    tokenFormat: 'opaque',
    ...input,
  });
  if (!created.ok) throw new Error(created.reason);
  return created.api;
}
