import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createTestAccount, createTestApi, createTestClient } from '../../harness/factories.ts';
import { introspect, post, redeem, signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

describe('the authorization code flow', () => {
  test('a person signs in, consents, and the app gets tokens that introspect as active', async () => {
    const { issuer, domains } = server;
    const client = await createTestClient(domains);
    const person = await createTestAccount(domains, { name: 'Ada Lovelace' });
    const tokens = await signInForTokens(issuer, client, person, {
      parameters: { scope: 'openid profile email offline_access', prompt: 'consent' },
    });
    expect(tokens).toMatchObject({ token_type: 'Bearer', expires_in: 600, refresh_token: expect.any(String) });
    expect(decodeJwt(tokens.id_token ?? '')).toMatchObject({
      iss: issuer,
      sub: person.account.id,
      aud: client.id,
      acr: 'urn:tessera:acr:password',
      amr: ['pwd'],
    });
    const userinfo = await fetch(`${issuer}/userinfo`, { headers: { authorization: `Bearer ${tokens.access_token}` } });
    expect(await userinfo.json()).toMatchObject({ sub: person.account.id, name: 'Ada Lovelace', email: person.login });
    const { body } = await introspect(issuer, client, tokens.access_token);
    expect(body).toMatchObject({ active: true, sub: person.account.id, client_id: client.id });
    const refreshed = await post(`${issuer}/token`, client, {
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token,
    });
    expect(refreshed.status).toBe(200);
  });

  test('a JWT of an API carries its audience and introspects as active for the API’s own client', async () => {
    const { issuer, domains } = server;
    const guard = await createTestClient(domains);
    const api = await createTestApi(domains, {
      tokenFormat: 'jwt',
      signingAlgorithm: 'ES256',
      introspectionClientIds: [guard.id],
    });
    const scope = api.scopes[0]?.scope ?? '';
    const client = await createTestClient(domains, { metadata: { scope: `openid offline_access ${scope}` } });
    const person = await createTestAccount(domains);
    const tokens = await signInForTokens(issuer, client, person, {
      parameters: { scope: `openid ${scope}`, resource: api.identifier },
      redemption: { resource: api.identifier },
    });
    expect(decodeJwt(tokens.access_token)).toMatchObject({ aud: api.identifier, scope, client_id: client.id });
    expect((await introspect(issuer, guard, tokens.access_token)).body).toMatchObject({ active: true, scope });
    const stranger = await createTestClient(domains);
    expect((await introspect(issuer, stranger, tokens.access_token)).body).toEqual({ active: false });
    expect(redeem).toBeDefined();
  });
});
