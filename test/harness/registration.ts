import { REDIRECT_URI } from './factories.ts';
import type { Answer } from './token-requests.ts';

/** What a third-party web app says of itself. */
export const WEB_APP = {
  client_name: 'Somebody’s App',
  redirect_uris: [REDIRECT_URI],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
};

/** A request with JSON, by a token where there is one. */
export async function send(
  method: 'POST' | 'GET' | 'PUT' | 'DELETE',
  url: string,
  { body, token }: { body?: unknown; token?: string | undefined } = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers: {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text), headers: response.headers };
}

/** Asks to register. */
export function askToRegister(issuer: string, members: object = {}, token?: string): Promise<Answer> {
  return send('POST', `${issuer}/register`, { body: { ...WEB_APP, ...members }, token });
}

/** Registers. @throws where it is refused */
export async function register(issuer: string, members: object = {}, token?: string) {
  const { status, body } = await askToRegister(issuer, members, token);
  if (status !== 201) throw new Error(`not registered: ${status} ${JSON.stringify(body)}`);
  return {
    id: String(body.client_id),
    secret: String(body.client_secret ?? ''),
    /** Where it is managed, and by what. */
    uri: String(body.registration_client_uri),
    token: String(body.registration_access_token),
    body,
  };
}
