import type { TestClient } from './factories.ts';
import { authorizationRequest, authorize, post } from './flows.ts';
import { Person } from './person.ts';

type Client = Pick<TestClient, 'id' | 'secret'>;
type Credentials = { login: string; password: string };
type Answer = Awaited<ReturnType<typeof post>>;

/** Signs in and consents as far as each is asked for. @returns the code and what is needed to redeem it */
export async function codeFor(
  issuer: string,
  client: Client,
  credentials: Credentials,
  options: { parameters?: Record<string, string | undefined>; person?: Person } = {},
): Promise<{ code: string; verifier: string; state: string; nonce: string }> {
  const request = authorizationRequest(issuer, client.id, options.parameters);
  const back = await authorize(options.person ?? new Person(), request, credentials);
  const code = back.searchParams.get('code');
  if (code === null) throw new Error(`no code: ${back.href}`);
  return { code, verifier: request.verifier, state: request.state, nonce: request.nonce };
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

export async function isActive(issuer: string, client: Client, token: string | undefined): Promise<unknown> {
  const { status, body } = await post(`${issuer}/introspect`, client, { token });
  if (status !== 200) throw new Error(`no introspection: ${status} ${JSON.stringify(body)}`);
  return body.active;
}

export async function userinfo(
  issuer: string,
  accessToken: string,
): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
  const response = await fetch(`${issuer}/userinfo`, { headers: { authorization: `Bearer ${accessToken}` } });
  return {
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
    headers: response.headers,
  };
}

/** The OAuth error code that a page shows to programs; undefined where it is no error page. */
export function errorOnPage(html: string): string | undefined {
  return /\bdata-error="([^"]*)"/.exec(html)?.[1];
}
