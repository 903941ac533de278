import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createServiceClient, createTestApi, type TestClient } from '../../harness/factories.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, post } from '../../harness/token-requests.ts';

const ENDPOINTS = ['/token', '/introspect', '/revoke'];

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  const api = await createTestApi(server.domains);
  client = await createServiceClient(server.domains, api.scopes[0]?.scope ?? '');
});
afterAll(() => server.close());

function send(path: string, body: string, contentType = 'application/x-www-form-urlencoded') {
  const authorization = `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}`;
  return fetch(`${server.issuer}${path}`, {
    method: 'POST',
    headers: { authorization, 'content-type': contentType },
    body,
  });
}

describe('the token endpoint', () => {
  test.each([
    'password',
    'implicit',
    'urn:ietf:params:oauth:grant-type:jwt-bearer',
    'urn:openid:params:grant-type:ciba',
    'nonsense',
    '__proto__',
  ])('does not know the grant %s', async (grant_type) => {
    const { status, body } = await post(`${server.issuer}/token`, client, { grant_type, username: 'a', password: 'b' });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'unsupported_grant_type' });
  });

  test.each([
    'authorization_code',
    'refresh_token',
    'urn:ietf:params:oauth:grant-type:device_code',
    'urn:ietf:params:oauth:grant-type:token-exchange',
  ])('refuses the grant %s to a client that is not registered for it', async (grant_type) => {
    const { status, body } = await post(`${server.issuer}/token`, client, { grant_type });
    expect({ status, ...body }).toMatchObject({
      status: 400,
      error_description: 'requested grant type is not allowed for this client',
    });
  });

  test('wants a grant', async () => {
    const { status, body } = await post(`${server.issuer}/token`, client, {});
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
  });

  test('ignores what it does not know', async () => {
    const { status } = await clientCredentials(server.issuer, client, {
      audience: 'x',
      utm_source: 'mail',
      __proto__x: '1',
    });
    expect(status).toBe(200);
  });

  test('takes no credentials and no grant from the query, where logs would keep them', async () => {
    const query = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: client.id,
      client_secret: client.secret,
    });
    const response = await fetch(`${server.issuer}/token?${query}`, { method: 'POST', body: new URLSearchParams() });
    expect(response.status).toBe(400);
    const get = await fetch(`${server.issuer}/token?${query}`);
    expect(get.status).toBe(404);
  });

  test('answers are for the asker alone: no cache keeps them', async () => {
    const { headers } = await clientCredentials(server.issuer, client);
    expect(headers.get('cache-control')).toContain('no-store');
    expect(headers.get('content-type')).toMatch(/^application\/json/);
  });
});

describe.each(ENDPOINTS)('%s', (path) => {
  test('refuses a parameter that comes twice', async () => {
    const first = path === '/token' ? 'grant_type=client_credentials' : 'token=x';
    const id = `client_id=${client.id}`;
    for (const body of [`${first}&${first}`, `${first}&${id}&${id}`]) {
      const response = await send(path, body);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: 'invalid_request' });
    }
  });

  test('wants a form and nothing else', async () => {
    for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x']) {
      const response = await send(path, JSON.stringify({ grant_type: 'client_credentials', token: 'x' }), type);
      expect({ type, status: response.status }).toEqual({ type, status: 400 });
      expect(await response.json()).toMatchObject({ error: 'invalid_request' });
    }
  });
});
