import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createTestAccount, createTestApi, createTestClient, REDIRECT_URI } from '../../harness/factories.ts';
import { codeFor, pkce, signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { introspect, isActive, post, redeem, refresh } from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';

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
  });
});

describe('an authorization code', () => {
  test('is redeemed once; a second use ends all that came of the first, and is recorded', async () => {
    const { issuer, domains } = server;
    const client = await createTestClient(domains);
    const person = await createTestAccount(domains);
    const { code, verifier } = await codeFor(issuer, client, person, {
      parameters: { scope: 'openid offline_access', prompt: 'consent' },
    });
    const { body: tokens } = await redeem(issuer, client, code, verifier);
    expect(await isActive(issuer, client, String(tokens.access_token))).toBe(true);
    const again = await redeem(issuer, client, code, verifier);
    expect(again).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect(await isActive(issuer, client, String(tokens.access_token))).toBe(false);
    expect(await isActive(issuer, client, String(tokens.refresh_token))).toBe(false);
    expect((await refresh(issuer, client, String(tokens.refresh_token))).body.error).toBe('invalid_grant');
    const events = await domains.audit.tail({ limit: 100, types: ['code.reuse_detected'] });
    expect(events.map(({ clientId }) => clientId)).toContain(client.id);
  });

  test('is worth nothing with another verifier, or with none', async () => {
    const { issuer, domains } = server;
    const client = await createTestClient(domains);
    const person = await createTestAccount(domains);
    const { code, verifier } = await codeFor(issuer, client, person);
    const wrong = await redeem(issuer, client, code, pkce().verifier);
    expect(wrong).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const none = await post(`${issuer}/token`, client, {
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT_URI,
    });
    expect(none).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    // A guess must not take the code from the app that it belongs to.
    expect((await redeem(issuer, client, code, verifier)).status).toBe(200);
  });

  test('belongs to the client that it was made for', async () => {
    const { issuer, domains } = server;
    const [client, thief] = await Promise.all([createTestClient(domains), createTestClient(domains)]);
    const person = await createTestAccount(domains);
    const { code, verifier } = await codeFor(issuer, client, person);
    const foreign = await redeem(issuer, thief, code, verifier);
    expect(foreign).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const unauthenticated = await redeem(issuer, { id: client.id, secret: '' }, code, verifier);
    expect(unauthenticated).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    expect((await redeem(issuer, client, code, verifier)).status).toBe(200);
  });

  test('is bound to the redirect URI that it was sent to', async () => {
    const { issuer, domains } = server;
    const other = `${REDIRECT_URI}/other`;
    const client = await createTestClient(domains, { metadata: { redirect_uris: [REDIRECT_URI, other] } });
    const person = await createTestAccount(domains);
    const { code, verifier } = await codeFor(issuer, client, person);
    const elsewhere = await redeem(issuer, client, code, verifier, { redirect_uri: other });
    expect(elsewhere).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect((await redeem(issuer, client, code, verifier)).status).toBe(200);
  });

  test('that is none is invalid_grant, and one that is missing invalid_request', async () => {
    const { issuer, domains } = server;
    const client = await createTestClient(domains);
    for (const code of ['nonsense', 'a'.repeat(43), '\u0000', 'é']) {
      expect((await redeem(issuer, client, code, pkce().verifier)).body.error).toBe('invalid_grant');
    }
    const { status, body } = await post(`${issuer}/token`, client, { grant_type: 'authorization_code' });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
  });

  test('of an account that was disabled meanwhile, or a client that was deleted, is worth nothing', async () => {
    const { issuer, domains } = server;
    const client = await createTestClient(domains);
    const person = await createTestAccount(domains);
    const forDisabled = await codeFor(issuer, client, person);
    await domains.accounts.disable(person.account.id);
    const refused = await redeem(issuer, client, forDisabled.code, forDisabled.verifier);
    expect(refused).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    await domains.accounts.enable(person.account.id);
    const forDeleted = await codeFor(issuer, client, person);
    await domains.clients.delete(client.id);
    const unknown = await redeem(issuer, client, forDeleted.code, forDeleted.verifier);
    expect(unknown).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test('expires', async () => {
    const shortLived = await startTestServer({ environment: { AUTHORIZATION_CODE_TTL: '1' } });
    try {
      const { issuer, domains } = shortLived;
      const client = await createTestClient(domains);
      const person = await createTestAccount(domains);
      const { code, verifier } = await codeFor(issuer, client, person);
      const expiredAt = Math.floor(Date.now() / 1000) + 1;
      await until('the code has expired', () => Math.floor(Date.now() / 1000) > expiredAt);
      expect(await redeem(issuer, client, code, verifier)).toMatchObject({
        status: 400,
        body: { error: 'invalid_grant' },
      });
    } finally {
      await shortLived.close();
    }
  });
});
