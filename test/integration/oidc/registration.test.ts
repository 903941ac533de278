import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { askToRegister, register, WEB_APP } from '../../harness/registration.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { redeem, refresh, userinfo } from '../../harness/token-requests.ts';

const ENVIRONMENT = { REGISTRATION: 'open', REGISTRATIONS_PER_ADDRESS: '100000' };

let server: TestServer;
let second: TestServer;
let account: Awaited<ReturnType<typeof createTestAccount>>;

beforeAll(async () => {
  server = await startTestServer({ environment: ENVIRONMENT });
  second = await startTestServer({ node: server, environment: { ...ENVIRONMENT, ISSUER: server.issuer } });
  account = await createTestAccount(server.domains);
});
afterAll(async () => {
  await second?.close();
  await server?.close();
});

describe('a registration (RFC 7591, section 3)', () => {
  test('is answered with what was registered, a secret of 256 bits and where it is managed', async () => {
    const { status, body, headers } = await askToRegister(server.issuer, { client_uri: 'https://app.example.com/' });
    expect(status).toBe(201);
    expect(headers.get('cache-control')).toContain('no-store');
    expect(body).toMatchObject({
      ...WEB_APP,
      token_endpoint_auth_method: 'client_secret_basic',
      client_secret_expires_at: 0,
    });
    expect(Buffer.from(String(body.client_secret), 'base64url')).toHaveLength(32);
    expect(body.registration_client_uri).toBe(`${server.issuer}/register/${body.client_id}`);
    expect(Math.abs(Number(body.client_id_issued_at) - Date.now() / 1_000)).toBeLessThan(5);
    expect(body).not.toHaveProperty('allowed_origins');
  });

  test('makes a client that people sign in to at once, on every node', async () => {
    const client = await register(server.issuer);
    expect((await redeem(second.address, client, 'no code', 'a'.repeat(43))).body.error).toBe('invalid_grant');
    const tokens = await signInForTokens(server.issuer, client, account, {
      parameters: { scope: 'openid offline_access', prompt: 'consent' },
    });
    expect((await userinfo(server.issuer, tokens.access_token)).status).toBe(200);
    expect((await refresh(server.issuer, client, tokens.refresh_token)).status).toBe(200);
  });
});
