import type { Api } from '../../src/clients/index.ts';
import type { Domains } from '../../src/compose/index.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from './factories.ts';
import { signInForTokens } from './flows.ts';
import { type Answer, type Client, post } from './token-requests.ts';

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
export const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';

/** An exchange at the token endpoint; parameters that are set to undefined are left out. */
export function exchange(
  address: string,
  client: Client,
  subjectToken: string,
  parameters: Record<string, string | undefined> = {},
): Promise<Answer> {
  return post(`${address}/token`, client, {
    grant_type: TOKEN_EXCHANGE,
    subject_token: subjectToken,
    subject_token_type: ACCESS_TOKEN_TYPE,
    ...parameters,
  });
}

/** The token of an exchange. @throws where there is none */
export async function exchanged(...request: Parameters<typeof exchange>): Promise<string> {
  const { status, body } = await exchange(...request);
  if (status !== 200) throw new Error(`no token: ${status} ${JSON.stringify(body)}`);
  return String(body.access_token);
}

type Format = Api['tokenFormat'];

/** A person's app, a gateway that guards the API which the app calls, and a second API behind it. */
export type Landscape = {
  app: TestClient;
  gateway: TestClient;
  /** Guarded by the gateway. */
  outer: Api;
  /** Guarded by the backend. */
  inner: Api;
  backend: TestClient;
  /** Owned by both APIs. */
  read: string;
  write: string;
};

/** @param formats of the tokens of both APIs */
export async function createLandscape(
  domains: Pick<Domains, 'clients' | 'apis'>,
  formats: { outer: Format; inner: Format },
  gatewayMetadata: Parameters<typeof createServiceClient>[2] = {},
): Promise<Landscape> {
  const first = await createTestApi(domains, { tokenFormat: formats.outer });
  const [read = '', write = ''] = first.scopes.map(({ scope }) => scope);
  const scope = `${read} ${write}`;
  const grant_types = ['client_credentials', TOKEN_EXCHANGE];
  const { metadata, ...input } = gatewayMetadata;
  const inner = await createTestApi(domains, { tokenFormat: formats.inner, scopes: [read, write] });
  const gateway = await createServiceClient(domains, scope, { ...input, metadata: { grant_types, ...metadata } });
  const backend = await createServiceClient(domains, scope, { metadata: { grant_types } });
  const guard = async (identifier: string, client: TestClient) => {
    const updated = await domains.apis.update(identifier, { introspectionClientIds: [client.id] });
    if (!updated.ok) throw new Error(updated.reason);
    return updated.api;
  };
  const outer = await guard(first.identifier, gateway);
  return {
    app: await createTestClient(domains, { metadata: { scope: `openid offline_access ${scope}` } }),
    gateway,
    outer,
    inner: await guard(inner.identifier, backend),
    backend,
    read,
    write,
  };
}

/** A person who signed in to the app, with a token for the outer API. @param who somebody new, unless told */
export async function signInToApp(
  address: string,
  domains: Pick<Domains, 'accounts'>,
  { app, outer, read, write }: Landscape,
  scope = `${read} ${write}`,
  who?: Awaited<ReturnType<typeof createTestAccount>>,
) {
  const { account, login, password } = who ?? (await createTestAccount(domains));
  const parameters = { scope: `openid ${scope}`, resource: outer.identifier, prompt: 'consent' };
  const redemption = { resource: outer.identifier };
  const tokens = await signInForTokens(address, app, { login, password }, { parameters, redemption });
  return { account, login, password, token: tokens.access_token };
}
