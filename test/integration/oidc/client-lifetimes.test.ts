import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import type { NewApi } from '../../../src/clients/index.ts';
import { createServiceClient, createTestAccount, createTestApi, createTestClient } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, introspect, refresh, type Tokens } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ environment: { ACCESS_TOKEN_TTL: '500' } });
});
afterAll(() => server.close());

const formats: NewApi['tokenFormat'][] = ['jwt', 'opaque'];

/** Seconds from the issue of a token to its end, as the token itself, or introspection, says. */
async function lifeOf(client: Parameters<typeof introspect>[1], token: string): Promise<number> {
  const { body } = await introspect(server.issuer, client, token);
  expect(body.active).toBe(true);
  if (token.includes('.')) expect(decodeJwt(token)).toMatchObject({ exp: body.exp, iat: body.iat });
  return Number(body.exp) - Number(body.iat);
}

describe.each(formats)('a %s token', (tokenFormat) => {
  test.each([
    ['as its API says, where the client says nothing', 120, undefined, 120],
    ['as its client says, where that is less', 120, 45, 45],
    ['as its API says, where the client says more', 120, 3_600, 120],
  ])('of a service lives %s', async (_what, ttlSeconds, clientSeconds, expected) => {
    const api = await createTestApi(server.domains, { tokenFormat, ttlSeconds });
    const scope = api.scopes[0]?.scope ?? '';
    const metadata = clientSeconds === undefined ? {} : { access_token_ttl_seconds: clientSeconds };
    const client = await createServiceClient(server.domains, scope, { metadata });
    const { body } = await clientCredentials(server.issuer, client);
    expect(body.expires_in).toBe(expected);
    expect(await lifeOf(client, String(body.access_token))).toBe(expected);
  });

  test('of a person lives as long as its client says where that is less, a refreshed one too', async () => {
    const api = await createTestApi(server.domains, { tokenFormat, ttlSeconds: 120 });
    const scope = `openid offline_access ${api.scopes[0]?.scope}`;
    const client = await createTestClient(server.domains, { metadata: { scope, access_token_ttl_seconds: 60 } });
    const resource = api.identifier;
    const tokens = await signInForTokens(server.issuer, client, await createTestAccount(server.domains), {
      parameters: { scope, resource, prompt: 'consent' },
      redemption: { resource },
    });
    expect(tokens.expires_in).toBe(60);
    expect(await lifeOf(client, tokens.access_token)).toBe(60);
    const refreshed = (await refresh(server.issuer, client, tokens.refresh_token, { resource })).body as Tokens;
    expect(refreshed.expires_in).toBe(60);
    expect(await lifeOf(client, refreshed.access_token)).toBe(60);
  });
});

test.each([
  ['the server says, where the client says nothing', undefined, 500],
  ['the client says, where that is less', 30, 30],
  ['the server says, where the client says more', 86_400, 500],
])('a token for userinfo lives as long as %s', async (_what, clientSeconds, expected) => {
  const metadata = clientSeconds === undefined ? {} : { access_token_ttl_seconds: clientSeconds };
  const client = await createTestClient(server.domains, { metadata });
  const tokens = await signInForTokens(server.issuer, client, await createTestAccount(server.domains));
  expect(tokens.expires_in).toBe(expected);
  expect(await lifeOf(client, tokens.access_token)).toBe(expected);
});

test('a change counts from the next token on, and the tokens before live on', async () => {
  const api = await createTestApi(server.domains, { tokenFormat: 'jwt', ttlSeconds: 300 });
  const client = await createServiceClient(server.domains, api.scopes[0]?.scope ?? '');
  const before = String((await clientCredentials(server.issuer, client)).body.access_token);
  await server.domains.clients.update(client.id, { metadata: { access_token_ttl_seconds: 40 } });
  expect((await clientCredentials(server.issuer, client)).body.expires_in).toBe(40);
  await server.domains.clients.update(client.id, { metadata: { access_token_ttl_seconds: null } });
  expect((await clientCredentials(server.issuer, client)).body.expires_in).toBe(300);
  expect(await lifeOf(client, before)).toBe(300);
});
