import { authorizationRequest } from './flows.ts';
import { type Answer, type Client, post } from './token-requests.ts';

/** Pushes an authorization request (RFC 9126). A parameter that is set to undefined is left out. */
export async function push(
  issuer: string,
  client: Client,
  parameters: Record<string, string | undefined> = {},
): Promise<Answer & { requestUri: string; verifier: string; state: string; nonce: string }> {
  const { url, ...request } = authorizationRequest(issuer, client.id, parameters);
  const answer = await post(`${issuer}/par`, client, Object.fromEntries(new URL(url).searchParams));
  return { ...answer, ...request, requestUri: String(answer.body.request_uri) };
}

/** Where a person's browser goes with what was pushed. */
export function pushedUrl(issuer: string, clientId: string, requestUri: string): string {
  return `${issuer}/authorize?${new URLSearchParams({ client_id: clientId, request_uri: requestUri })}`;
}
