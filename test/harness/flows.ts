import { createHash, randomBytes } from 'node:crypto';
import { REDIRECT_URI } from './factories.ts';
import { Person } from './person.ts';
import { type Client, redeem, type Tokens } from './token-requests.ts';

type Credentials = { login: string; password: string };

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
  credentials: Credentials,
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

/** The whole way: sign in, consent, redeem. */
export async function signInForTokens(
  issuer: string,
  client: Client,
  credentials: Credentials,
  options: { parameters?: Record<string, string>; person?: Person; redemption?: Record<string, string> } = {},
): Promise<Tokens> {
  const { code, verifier } = await codeFor(issuer, client, credentials, options);
  const { status, body } = await redeem(issuer, client, code, verifier, options.redemption);
  if (status !== 200) throw new Error(`no tokens: ${JSON.stringify(body)}`);
  return body as Tokens;
}
