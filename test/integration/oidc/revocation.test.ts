import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, post, refresh, revoke, serviceToken, userinfo } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

async function signedIn(client: TestClient) {
  const person = await createTestAccount(server.domains);
  const tokens = await signInForTokens(server.issuer, client, person, {
    parameters: { scope: 'openid offline_access', prompt: 'consent' },
  });
  return { person, tokens };
}

async function service() {
  const api = await createTestApi(server.domains);
  return createServiceClient(server.domains, api.scopes[0]?.scope ?? '');
}

describe('a client revokes', () => {
  test.each(['access_token', 'refresh_token'] as const)(
    'its %s, and all that hangs on the same grant dies with it',
    async (kind) => {
      const client = await createTestClient(server.domains);
      const { tokens } = await signedIn(client);
      const later = (await refresh(server.issuer, client, tokens.refresh_token)).body;
      const { status, body } = await revoke(server.issuer, client, tokens[kind] ?? '');
      expect({ status, body }).toEqual({ status: 200, body: {} });
      for (const token of [tokens.access_token, tokens.refresh_token, String(later.access_token)]) {
        expect(await isActive(server.issuer, client, token)).toBe(false);
      }
      expect((await userinfo(server.issuer, String(later.access_token))).status).toBe(401);
      expect((await refresh(server.issuer, client, tokens.refresh_token)).body.error).toBe('invalid_grant');
    },
  );

  test('nothing of another sign-in, of another person or of another client', async () => {
    const [client, otherClient] = await Promise.all([
      createTestClient(server.domains),
      createTestClient(server.domains),
    ]);
    const { tokens, person } = await signedIn(client);
    const parameters = { scope: 'openid offline_access', prompt: 'consent' };
    const elsewhere = await signInForTokens(server.issuer, client, person, { parameters });
    const atOther = await signInForTokens(server.issuer, otherClient, person, { parameters });
    const { tokens: somebodyElses } = await signedIn(client);
    await revoke(server.issuer, client, tokens.access_token);
    expect(await isActive(server.issuer, client, elsewhere.access_token)).toBe(true);
    expect(await isActive(server.issuer, otherClient, atOther.access_token)).toBe(true);
    expect(await isActive(server.issuer, client, somebodyElses.access_token)).toBe(true);
  });

  test('a token of its own from client credentials, and that one alone', async () => {
    const client = await service();
    const [one, other] = [await serviceToken(server.issuer, client), await serviceToken(server.issuer, client)];
    expect((await revoke(server.issuer, client, one)).status).toBe(200);
    expect(await isActive(server.issuer, client, one)).toBe(false);
    expect(await isActive(server.issuer, client, other)).toBe(true);
  });

  test('whatever the hint says', async () => {
    const client = await createTestClient(server.domains);
    for (const token_type_hint of ['refresh_token', 'access_token', 'spaghetti']) {
      const { tokens } = await signedIn(client);
      const { status } = await post(`${server.issuer}/revoke`, client, { token: tokens.access_token, token_type_hint });
      expect(status).toBe(200);
      expect(await isActive(server.issuer, client, tokens.access_token)).toBe(false);
    }
  });

  test('without a secret, where it is a public client', async () => {
    const client = await createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } });
    const { tokens } = await signedIn(client);
    expect((await revoke(server.issuer, client, tokens.refresh_token ?? '')).status).toBe(200);
    expect((await refresh(server.issuer, client, tokens.refresh_token)).body.error).toBe('invalid_grant');
  });

  test('and that is recorded', async () => {
    const client = await createTestClient(server.domains);
    const { tokens, person } = await signedIn(client);
    await revoke(server.issuer, client, tokens.access_token);
    const events = await server.domains.audit.tail({ limit: 100, types: ['token.revoked', 'grant.revoked'] });
    const own = events.filter(({ clientId }) => clientId === client.id);
    expect(own.map(({ type }) => type).sort()).toEqual(['grant.revoked', 'token.revoked']);
    expect(own.find(({ type }) => type === 'token.revoked')?.accountId).toBe(person.account.id);
    expect(JSON.stringify(own)).not.toContain(tokens.access_token);
  });
});

describe('a token stays alive', () => {
  test('when another client asks to revoke it, even one that may introspect all', async () => {
    const client = await createTestClient(server.domains);
    const { tokens } = await signedIn(client);
    for (const stranger of [
      await createTestClient(server.domains),
      await createTestClient(server.domains, { mayIntrospectAny: true }),
      await createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } }),
    ]) {
      for (const token of [tokens.access_token, tokens.refresh_token ?? '']) {
        const { status, body } = await revoke(server.issuer, stranger, token);
        expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
      }
    }
    expect(await isActive(server.issuer, client, tokens.access_token)).toBe(true);
    expect((await refresh(server.issuer, client, tokens.refresh_token)).status).toBe(200);
  });

  test('when whoever asks does not prove who it is', async () => {
    const client = await createTestClient(server.domains);
    const { tokens } = await signedIn(client);
    for (const impostor of [
      { id: client.id, secret: 'wrong' },
      { id: client.id, secret: '' },
    ]) {
      const { status, body } = await revoke(server.issuer, impostor, tokens.access_token);
      expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
    }
    expect(await isActive(server.issuer, client, tokens.access_token)).toBe(true);
  });
});

describe('the revocation endpoint', () => {
  test('answers 200 to what is no token, or none any more (RFC 7009, section 2.2)', async () => {
    const client = await createTestClient(server.domains);
    const { tokens } = await signedIn(client);
    await revoke(server.issuer, client, tokens.access_token);
    for (const token of ['nonsense', 'a'.repeat(43), 'é\u0000', tokens.access_token]) {
      expect((await revoke(server.issuer, client, token)).status).toBe(200);
    }
  });

  test('wants a token', async () => {
    const client = await createTestClient(server.domains);
    const { status, body } = await post(`${server.issuer}/revoke`, client, {});
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
  });
});
