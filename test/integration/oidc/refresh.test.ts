import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createTestAccount, createTestApi, createTestClient, type TestClient } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { ageRotation } from '../../harness/rotations.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, refresh, revoke, type Tokens, userinfo } from '../../harness/token-requests.ts';

/** The default. */
const LEEWAY_SECONDS = 10;
const OFFLINE = { scope: 'openid profile email offline_access', prompt: 'consent' };

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const publicClient = () => createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } });
const confidentialClient = () => createTestClient(server.domains);

async function signedIn(client: TestClient) {
  const person = await createTestAccount(server.domains);
  const tokens = await signInForTokens(server.issuer, client, person, { parameters: OFFLINE });
  return { person, tokens };
}

async function refreshed(client: TestClient, refreshToken: string | undefined): Promise<Tokens> {
  const { status, body } = await refresh(server.issuer, client, refreshToken);
  expect(status).toBe(200);
  return body as Tokens;
}

describe('a refresh token of a public client', () => {
  test('is replaced at every use', async () => {
    const client = await publicClient();
    const { person, tokens } = await signedIn(client);
    const second = await refreshed(client, tokens.refresh_token);
    const third = await refreshed(client, second.refresh_token);
    expect(new Set([tokens.refresh_token, second.refresh_token, third.refresh_token]).size).toBe(3);
    expect(new Set([tokens.access_token, second.access_token, third.access_token]).size).toBe(3);
    expect((await userinfo(server.issuer, third.access_token)).body.sub).toBe(person.account.id);
  });

  test('that is used again after the leeway ends everything that hangs on its grant, and that is recorded', async () => {
    const client = await publicClient();
    const { tokens, person } = await signedIn(client);
    const second = await refreshed(client, tokens.refresh_token);
    const all = [tokens.access_token, second.access_token, second.refresh_token];
    for (const token of all) expect(await isActive(server.issuer, client, token)).toBe(true);
    await ageRotation(server.domains.database.pool, tokens.refresh_token, LEEWAY_SECONDS);
    const reused = await refresh(server.issuer, client, tokens.refresh_token);
    expect(reused).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    for (const token of all) expect(await isActive(server.issuer, client, token)).toBe(false);
    const heir = await refresh(server.issuer, client, second.refresh_token);
    expect(heir).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const events = await server.domains.audit.tail({ limit: 100, types: ['token.reuse_detected', 'grant.revoked'] });
    const own = events.filter(({ clientId }) => clientId === client.id);
    expect(own.map(({ type, accountId }) => [type, accountId])).toEqual([
      ['token.reuse_detected', person.account.id],
      ['grant.revoked', person.account.id],
    ]);
  });

  test('ends no other grant of the same person by its reuse', async () => {
    const client = await publicClient();
    const person = await createTestAccount(server.domains);
    const [one, other] = await Promise.all(
      [1, 2].map(() => signInForTokens(server.issuer, client, person, { parameters: OFFLINE })),
    );
    await refreshed(client, one?.refresh_token);
    await ageRotation(server.domains.database.pool, one?.refresh_token, LEEWAY_SECONDS);
    await refresh(server.issuer, client, one?.refresh_token);
    expect(await isActive(server.issuer, client, one?.access_token)).toBe(false);
    expect(await isActive(server.issuer, client, other?.access_token)).toBe(true);
    await refreshed(client, other?.refresh_token);
  });
});

describe('a refresh token of a confidential client', () => {
  test('stays the same, and may be used again and again', async () => {
    const client = await confidentialClient();
    const { tokens } = await signedIn(client);
    const second = await refreshed(client, tokens.refresh_token);
    const third = await refreshed(client, tokens.refresh_token);
    expect([second.refresh_token, third.refresh_token]).toEqual([tokens.refresh_token, tokens.refresh_token]);
    expect(await isActive(server.issuer, client, tokens.access_token)).toBe(true);
  });

  test('wants the client’s secret', async () => {
    const client = await confidentialClient();
    const { tokens } = await signedIn(client);
    for (const impostor of [
      { id: client.id, secret: '' },
      { id: client.id, secret: 'wrong' },
    ]) {
      const { status, body } = await refresh(server.issuer, impostor, tokens.refresh_token);
      expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
    }
    await refreshed(client, tokens.refresh_token);
  });
});

describe('a refresh', () => {
  test('gives an ID token of the same sign-in', async () => {
    const client = await confidentialClient();
    const { tokens } = await signedIn(client);
    const first = decodeJwt(tokens.id_token ?? '');
    const second = decodeJwt((await refreshed(client, tokens.refresh_token)).id_token ?? '');
    for (const claim of ['iss', 'sub', 'aud', 'auth_time', 'nonce', 'acr'] as const) {
      expect(second[claim]).toEqual(first[claim]);
    }
  });

  test('may ask for less, and for all of it again the next time', async () => {
    const client = await confidentialClient();
    const { tokens } = await signedIn(client);
    const narrow = await refresh(server.issuer, client, tokens.refresh_token, { scope: 'openid email' });
    expect(narrow.body.scope).toBe('openid email');
    const claims = await userinfo(server.issuer, String(narrow.body.access_token));
    expect(Object.keys(claims.body).sort()).toEqual(['email', 'email_verified', 'sub']);
    expect((await refreshed(client, tokens.refresh_token)).scope).toBe(OFFLINE.scope);
  });

  test('may not ask for more than was allowed, and the attempt takes nothing away', async () => {
    for (const client of [await publicClient(), await confidentialClient()]) {
      const { tokens } = await signedIn(client);
      const wider = await refresh(server.issuer, client, tokens.refresh_token, { scope: 'openid phone' });
      expect(wider).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
      await refreshed(client, tokens.refresh_token);
    }
  });

  test('gives tokens for the API that was allowed, and for no other', async () => {
    const [api, other] = await Promise.all([createTestApi(server.domains), createTestApi(server.domains)]);
    const scope = api.scopes[0]?.scope ?? '';
    const otherScope = other.scopes[0]?.scope ?? '';
    const client = await createTestClient(server.domains, {
      metadata: { scope: `openid offline_access ${scope} ${otherScope}` },
    });
    const person = await createTestAccount(server.domains);
    const tokens = await signInForTokens(server.issuer, client, person, {
      parameters: { scope: `openid offline_access ${scope}`, prompt: 'consent', resource: api.identifier },
    });
    const allowed = await refresh(server.issuer, client, tokens.refresh_token, { resource: api.identifier });
    expect(allowed).toMatchObject({ status: 200, body: { scope } });
    const foreign = await refresh(server.issuer, client, tokens.refresh_token, { resource: other.identifier });
    expect(foreign).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
  });

  test('with somebody else’s token is refused, and the token stays with its client', async () => {
    const [client, thief, confidential] = await Promise.all([publicClient(), publicClient(), confidentialClient()]);
    const { tokens } = await signedIn(client);
    for (const stranger of [thief, confidential]) {
      const { status, body } = await refresh(server.issuer, stranger, tokens.refresh_token);
      expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_grant' });
    }
    await refreshed(client, tokens.refresh_token);
  });

  test('with an access token, a code or nonsense is refused', async () => {
    const client = await publicClient();
    const { tokens } = await signedIn(client);
    for (const value of [tokens.access_token, tokens.id_token, 'nonsense', 'é'.repeat(30)]) {
      expect((await refresh(server.issuer, client, value)).body.error).toBe('invalid_grant');
    }
    expect((await refresh(server.issuer, client, undefined)).body.error).toBe('invalid_request');
  });

  test('ends with the account: disabled at once, and alive again when it is enabled', async () => {
    const client = await confidentialClient();
    const { person, tokens } = await signedIn(client);
    await server.domains.accounts.disable(person.account.id);
    const { status, body } = await refresh(server.issuer, client, tokens.refresh_token);
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_grant' });
    await server.domains.accounts.enable(person.account.id);
    await refreshed(client, tokens.refresh_token);
    await server.domains.accounts.delete(person.account.id);
    expect((await refresh(server.issuer, client, tokens.refresh_token)).body.error).toBe('invalid_grant');
  });

  test('ends with its grant: when the access token or the refresh token is revoked', async () => {
    for (const client of [await publicClient(), await confidentialClient()]) {
      for (const revoked of ['access_token', 'refresh_token'] as const) {
        const { tokens } = await signedIn(client);
        await revoke(server.issuer, client, tokens[revoked] ?? '');
        const { status, body } = await refresh(server.issuer, client, tokens.refresh_token);
        expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_grant' });
      }
    }
  });

  test('is refused to a client that lost the grant type', async () => {
    const client = await confidentialClient();
    const { tokens } = await signedIn(client);
    const changed = await server.domains.clients.update(client.id, {
      metadata: { grant_types: ['authorization_code'] },
    });
    expect(changed.ok).toBe(true);
    const { status, body } = await refresh(server.issuer, client, tokens.refresh_token);
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
    expect(body.error_description).toMatch(/grant type is not allowed for this client/);
  });
});
