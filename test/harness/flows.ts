import { createHash, randomBytes } from 'node:crypto';
import { REDIRECT_URI, type TestClient } from './factories.ts';
import { Person } from './person.ts';

export type AuthorizationRequest = { url: string; verifier: string; state: string; nonce: string };

export function pkce(): { verifier: string; challenge: string } {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

/** An authorization request with PKCE, state and nonce. A parameter that is set to undefined is left out. */
export function authorizationRequest(
  issuer: string,
  clientId: string,
  parameters: Record<string, string | undefined> = {},
): AuthorizationRequest {
  const { verifier, challenge } = pkce();
  const state = randomBytes(8).toString('hex');
  const nonce = randomBytes(8).toString('hex');
  const all: Record<string, string | undefined> = {
    client_id: clientId,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    state,
    nonce,
    ...parameters,
  };
  const url = new URL('/authorize', issuer);
  for (const [name, value] of Object.entries(all)) if (value !== undefined) url.searchParams.set(name, value);
  return { url: url.href, verifier, state, nonce };
}

/** Goes through sign-in and consent, as far as each is asked for. @returns the redirect back to the app */
export async function authorize(
  person: Person,
  request: Pick<AuthorizationRequest, 'url'>,
  credentials: { login: string; password: string },
): Promise<URL> {
  let page = await person.open(request.url);
  for (let steps = 0; steps < 4 && page.html !== ''; steps += 1) {
    if (page.html.includes('name="password"')) {
      page = await person.submit(page, credentials, '/sign-in');
    } else if (page.html.includes('name="decision"')) {
      page = await person.submit(page, { decision: 'allow' }, '/consent');
    } else {
      throw new Error(`neither sign-in nor consent: ${page.response.status} ${page.html.slice(0, 2_000)}`);
    }
  }
  return new URL(page.url);
}

export type Tokens = {
  access_token: string;
  expires_in: number;
  token_type: string;
  id_token?: string;
  refresh_token?: string;
  scope?: string;
};

/** A POST with form parameters, authenticated as a client by HTTP Basic where it has a secret. */
export async function post(
  url: string,
  client: Pick<TestClient, 'id' | 'secret'> | undefined,
  parameters: Record<string, string | undefined>,
): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) form.set(name, value);
  const headers: Record<string, string> = { accept: 'application/json' };
  if (client?.secret) {
    const credentials = `${encodeURIComponent(client.id)}:${encodeURIComponent(client.secret)}`;
    headers.authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
  } else if (client !== undefined) {
    form.set('client_id', client.id);
  }
  const response = await fetch(url, { method: 'POST', headers, body: form });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text), headers: response.headers };
}

export function redeem(
  issuer: string,
  client: Pick<TestClient, 'id' | 'secret'>,
  code: string,
  verifier: string,
  extra: Record<string, string> = {},
) {
  return post(`${issuer}/token`, client, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier,
    ...extra,
  });
}

/** The whole way: sign in, consent, redeem. */
export async function signInForTokens(
  issuer: string,
  client: Pick<TestClient, 'id' | 'secret'>,
  credentials: { login: string; password: string },
  options: { parameters?: Record<string, string>; person?: Person; redemption?: Record<string, string> } = {},
): Promise<Tokens> {
  const request = authorizationRequest(issuer, client.id, options.parameters);
  const back = await authorize(options.person ?? new Person(), request, credentials);
  const code = back.searchParams.get('code');
  if (code === null) throw new Error(`no code: ${back.href}`);
  const { status, body } = await redeem(issuer, client, code, request.verifier, options.redemption);
  if (status !== 200) throw new Error(`no tokens: ${JSON.stringify(body)}`);
  return body as Tokens;
}

export function introspect(issuer: string, client: Pick<TestClient, 'id' | 'secret'>, token: string) {
  return post(`${issuer}/introspect`, client, { token });
}
