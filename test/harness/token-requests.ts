import { REDIRECT_URI, type TestClient } from './factories.ts';

export type Client = Pick<TestClient, 'id' | 'secret'>;
export type Answer = { status: number; body: Record<string, unknown>; headers: Headers };

export type Tokens = {
  access_token: string;
  expires_in: number;
  token_type: string;
  id_token?: string;
  refresh_token?: string;
  scope?: string;
};

/** HTTP Basic (RFC 6749, section 2.3.1). */
export function basicOf({ id, secret }: Client): string {
  return `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`;
}

/** A POST with form parameters, authenticated as a client by HTTP Basic where it has a secret. */
export async function post(
  url: string,
  client: Client | undefined,
  parameters: Record<string, string | undefined>,
): Promise<Answer> {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) form.set(name, value);
  const headers: Record<string, string> = { accept: 'application/json' };
  if (client?.secret) {
    headers.authorization = basicOf(client);
  } else if (client !== undefined) {
    form.set('client_id', client.id);
  }
  const response = await fetch(url, { method: 'POST', headers, body: form });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text), headers: response.headers };
}

export function redeem(
  issuer: string,
  client: Client,
  code: string,
  verifier: string,
  extra: Record<string, string> = {},
): Promise<Answer> {
  return post(`${issuer}/token`, client, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier,
    ...extra,
  });
}

export function refresh(
  issuer: string,
  client: Client,
  refreshToken: string | undefined,
  extra: Record<string, string> = {},
): Promise<Answer> {
  return post(`${issuer}/token`, client, { grant_type: 'refresh_token', refresh_token: refreshToken, ...extra });
}

export function clientCredentials(
  issuer: string,
  client: Client,
  parameters: Record<string, string> = {},
): Promise<Answer> {
  return post(`${issuer}/token`, client, { grant_type: 'client_credentials', ...parameters });
}

/** A token by client credentials. @throws where there is none */
export async function serviceToken(
  issuer: string,
  client: Client,
  parameters: Record<string, string> = {},
): Promise<string> {
  const { status, body } = await clientCredentials(issuer, client, parameters);
  if (status !== 200) throw new Error(`no token: ${JSON.stringify(body)}`);
  return String(body.access_token);
}

export function revoke(issuer: string, client: Client, token: string): Promise<Answer> {
  return post(`${issuer}/revoke`, client, { token });
}

export function introspect(issuer: string, client: Client, token: string | undefined): Promise<Answer> {
  return post(`${issuer}/introspect`, client, { token });
}

export async function isActive(issuer: string, client: Client, token: string | undefined): Promise<unknown> {
  const { status, body } = await introspect(issuer, client, token);
  if (status !== 200) throw new Error(`no introspection: ${status} ${JSON.stringify(body)}`);
  return body.active;
}

export async function userinfo(issuer: string, accessToken: string): Promise<Answer> {
  const response = await fetch(`${issuer}/userinfo`, { headers: { authorization: `Bearer ${accessToken}` } });
  return {
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
    headers: response.headers,
  };
}
