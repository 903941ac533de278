import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount, REDIRECT_URI } from '../../harness/factories.ts';
import { authorizationRequest, signInForTokens } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { askToRegister, register, send, WEB_APP } from '../../harness/registration.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, isActive, post, redeem, refresh, userinfo } from '../../harness/token-requests.ts';

const ENVIRONMENT = { REGISTRATION: 'open', REGISTRATIONS_PER_ADDRESS: '100000' };
const OFFLINE = { parameters: { scope: 'openid offline_access', prompt: 'consent' } };

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

/** What the token endpoint says to a client that authenticates with a secret: `invalid_grant` where that is right. */
async function errorOf(address: string, client: { id: string; secret: string }): Promise<unknown> {
  return (await redeem(address, client, 'no code', 'a'.repeat(43))).body.error;
}

describe('a registration (RFC 7591, section 3)', () => {
  test('is answered with what was registered, a secret of 256 bits and where it is managed', async () => {
    const { status, body, headers } = await askToRegister(server.issuer);
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

  test('makes a client that is there at once, on every node', async () => {
    const client = await register(server.issuer);
    expect(await errorOf(second.address, client)).toBe('invalid_grant');
    const tokens = await signInForTokens(server.issuer, client, account, OFFLINE);
    expect((await userinfo(server.issuer, tokens.access_token)).status).toBe(200);
    expect((await refresh(server.issuer, client, tokens.refresh_token)).status).toBe(200);
  });

  test('takes the authorization code flow and a secret for what is left out (section 2)', async () => {
    const { body } = await register(server.issuer, { grant_types: undefined, response_types: undefined });
    expect(body).toMatchObject({
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    });
  });

  test('passes over what is not known (section 2), and what only the server sets', async () => {
    const { id, secret, body } = await register(server.issuer, {
      something_new: { a: 1 },
      'client_name#de': 'Jemandes App',
      client_id: 'chosen-by-itself',
      client_secret: 'chosen-by-itself-and-long-enough-for-anybody',
      client_id_issued_at: 1,
    });
    expect(id).not.toBe('chosen-by-itself');
    expect(secret).not.toContain('chosen');
    expect(Object.keys(body)).not.toEqual(expect.arrayContaining(['something_new']));
    expect(await server.domains.clients.find('chosen-by-itself')).toBeUndefined();
  });

  test('makes no secret for a client that has no use for one', async () => {
    const { body } = await register(server.issuer, { token_endpoint_auth_method: 'none' });
    expect(body).not.toHaveProperty('client_secret');
    expect(body).not.toHaveProperty('client_secret_expires_at');
  });

  test.each([
    [{ redirect_uris: ['https://app.example.com/#fragment'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['http://app.example.com/'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['javascript:alert(1)'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['com.example.app:/cb'], application_type: 'web' }, 'invalid_redirect_uri'],
    [{ redirect_uris: 'https://app.example.com/' }, 'invalid_redirect_uri'],
    [{ redirect_uris: [] }, 'invalid_redirect_uri'],
    [{ client_name: `Tessera\u202e` }, 'invalid_client_metadata'],
    [{ client_name: 'x'.repeat(101) }, 'invalid_client_metadata'],
    [{ token_endpoint_auth_method: 'client_secret_jwt' }, 'invalid_client_metadata'],
    [{ id_token_signed_response_alg: 'HS256' }, 'invalid_client_metadata'],
    [{ id_token_signed_response_alg: 'none' }, 'invalid_client_metadata'],
    [{ jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] } }, 'invalid_client_metadata'],
    [{ jwks_uri: 'http://keys.example.com/' }, 'invalid_client_metadata'],
    [{ grant_types: ['password'] }, 'invalid_client_metadata'],
    [{ response_types: ['token'] }, 'invalid_client_metadata'],
    [{ contacts: 'nobody' }, 'invalid_client_metadata'],
    [{ scope: ['openid'] }, 'invalid_client_metadata'],
    [{ scope: 42 }, 'invalid_client_metadata'],
  ])('with %j is refused as %s', async (members, error) => {
    const { status, body } = await askToRegister(server.issuer, members);
    expect({ status, error: body.error }).toEqual({ status: 400, error });
    expect(body.error_description).toEqual(expect.any(String));
  });

  test.each([['[1]'], ['"text"'], ['null'], ['{'], ['']])('that is no JSON object is refused: %s', async (text) => {
    const response = await fetch(`${server.issuer}/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: text,
    });
    expect(response.status).toBe(400);
  });

  test('is in the audit trail with where it came from', async () => {
    const { id } = await register(server.issuer);
    const [event] = await server.domains.database.knex('audit_events').where({ client_id: id }).orderBy('id');
    expect(event).toMatchObject({ type: 'client.registered', actor_kind: 'client', actor_id: id });
    expect(event.address).toMatch(/127\.0\.0\.1|::1/);
  });

  test('where it is off, is not there and in no discovery document', async () => {
    const off = await startTestServer();
    try {
      expect((await askToRegister(off.issuer)).status).toBe(404);
      const document = await (await fetch(`${off.issuer}/.well-known/openid-configuration`)).json();
      expect(document).not.toHaveProperty('registration_endpoint');
    } finally {
      await off.close();
    }
    const document = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
    expect(document).toMatchObject({ registration_endpoint: `${server.issuer}/register` });
  });
});

describe('the consent page of a client that registered itself', () => {
  async function consentPage(client: { id: string }, redirectUri = REDIRECT_URI) {
    const person = new Person();
    const request = authorizationRequest(server.issuer, client.id, { redirect_uri: redirectUri });
    const signIn = await person.open(request.url);
    return person.submit(signIn, { login: account.login, password: account.password }, '/sign-in');
  }

  test('says so, whatever it calls itself, and where the answer goes', async () => {
    const client = await register(server.issuer, { client_name: 'Tessera' });
    const { html } = await consentPage(client);
    expect(html).toContain('data-unregistered');
    expect(html).toMatch(/<strong[^>]*>Tessera<\/strong> registered itself here/);
    expect(html).toMatch(/<strong[^>]*>app\.example\.com<\/strong>/);
  });

  test('says of an app on the device that a person must have started it', async () => {
    const redirectUri = 'http://127.0.0.1/callback';
    const client = await register(server.issuer, { redirect_uris: [redirectUri], token_endpoint_auth_method: 'none' });
    expect(client.body.application_type).toBe('native');
    const { html } = await consentPage(client, 'http://127.0.0.1:50123/callback');
    expect(html).toMatch(/registered itself here/);
    expect(html).toMatch(/only if you have just started it yourself/);
  });
});

describe('managing a registration (RFC 7592)', () => {
  test('it is read with its token, and says no secret again', async () => {
    const { uri, token, body, secret } = await register(server.issuer);
    const read = await send('GET', uri, { token });
    expect(read.status).toBe(200);
    const { client_secret: _, client_secret_expires_at: __, ...registered } = body;
    expect(read.body).toEqual(registered);
    expect(JSON.stringify(read.body)).not.toContain(secret);
  });

  test('it is changed as a whole, with a new token, and the one before is dead on every node', async () => {
    const client = await register(server.issuer, { client_uri: 'https://app.example.com/' });
    const changed = await send('PUT', client.uri, {
      token: client.token,
      body: { ...WEB_APP, client_id: client.id, client_name: 'Another Name' },
    });
    expect(changed.status).toBe(200);
    expect(changed.body).toMatchObject({ client_id: client.id, client_name: 'Another Name' });
    expect(changed.body).not.toHaveProperty('client_uri');
    expect(changed.body.registration_access_token).not.toBe(client.token);
    for (const address of [server.issuer, second.address]) {
      expect((await send('GET', `${address}/register/${client.id}`, { token: client.token })).status).toBe(401);
    }
    const token = String(changed.body.registration_access_token);
    expect((await send('GET', client.uri, { token })).body.client_name).toBe('Another Name');
    expect(await errorOf(server.issuer, client)).toBe('invalid_grant');
  });

  test('what it was answered may be sent back as it is, but for what the server says alone', async () => {
    const client = await register(server.issuer, { token_endpoint_auth_method: 'client_secret_post' });
    const {
      registration_access_token: token,
      registration_client_uri: _,
      client_id_issued_at: __,
      client_secret_expires_at: ___,
      ...said
    } = client.body;
    const changed = await send('PUT', client.uri, { token: String(token), body: said });
    expect(changed.status).toBe(200);
    const { client_secret: ____, ...rest } = said;
    expect(changed.body).toMatchObject(rest);
  });

  test('its secret stays, whether it is sent along or not; another is refused', async () => {
    const client = await register(server.issuer);
    const body = { ...WEB_APP, client_id: client.id };
    const wrong = await send('PUT', client.uri, { token: client.token, body: { ...body, client_secret: 'another' } });
    expect(wrong).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    const right = await send('PUT', client.uri, {
      token: client.token,
      body: { ...body, client_secret: client.secret },
    });
    expect(right.status).toBe(200);
    expect(right.body).not.toHaveProperty('client_secret');
    const without = await send('PUT', client.uri, { token: String(right.body.registration_access_token), body });
    expect(without.status).toBe(200);
    expect(await errorOf(server.issuer, client)).toBe('invalid_grant');
    expect(await errorOf(server.issuer, { ...client, secret: 'another' })).toBe('invalid_client');
  });

  test('what the server knows in place of the secret opens nothing and is never told', async () => {
    const { SECRET_PLACEHOLDER } = await import('../../../src/oidc/provider-client.ts');
    const client = await register(server.issuer);
    expect(await errorOf(server.issuer, { ...client, secret: SECRET_PLACEHOLDER })).toBe('invalid_client');
    const answers = [client.body, (await send('GET', client.uri, { token: client.token })).body];
    const changed = await send('PUT', client.uri, { token: client.token, body: { ...WEB_APP, client_id: client.id } });
    for (const answer of [...answers, changed.body]) expect(JSON.stringify(answer)).not.toContain(SECRET_PLACEHOLDER);
  });

  test('one that begins to authenticate gets a secret, and one that ceases to has none', async () => {
    const client = await register(server.issuer, { token_endpoint_auth_method: 'none' });
    const body = { ...WEB_APP, client_id: client.id };
    const confidential = await send('PUT', client.uri, {
      token: client.token,
      body: { ...body, token_endpoint_auth_method: 'client_secret_basic' },
    });
    const secret = String(confidential.body.client_secret);
    expect(Buffer.from(secret, 'base64url')).toHaveLength(32);
    expect(await errorOf(server.issuer, { ...client, secret })).toBe('invalid_grant');
    const open = await send('PUT', client.uri, {
      token: String(confidential.body.registration_access_token),
      body: { ...body, token_endpoint_auth_method: 'none' },
    });
    expect(open.body).not.toHaveProperty('client_secret');
    expect(await errorOf(server.issuer, { ...client, secret })).toBe('invalid_client');
  });

  test('it is changed to nothing that it could not have registered as', async () => {
    const client = await register(server.issuer);
    const { status, body } = await send('PUT', client.uri, {
      token: client.token,
      body: { ...WEB_APP, client_id: client.id, grant_types: ['client_credentials'], response_types: [] },
    });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_client_metadata' });
    expect((await clientCredentials(server.issuer, client)).body.error).not.toBeUndefined();
  });

  test('deleting it ends its tokens, grants and its own token on every node', async () => {
    const client = await register(server.issuer);
    const watcher = await register(server.issuer);
    const tokens = await signInForTokens(server.issuer, client, account, OFFLINE);
    expect(await isActive(server.issuer, client, tokens.access_token)).toBe(true);
    expect((await send('DELETE', client.uri, { token: client.token })).status).toBe(204);
    expect(await errorOf(server.issuer, client)).toBe('invalid_client');
    expect((await userinfo(server.issuer, tokens.access_token)).status).toBe(401);
    expect(await isActive(server.issuer, watcher, tokens.access_token)).toBe(false);
    expect((await send('GET', client.uri, { token: client.token })).status).toBe(401);
    const { knex } = server.domains.database;
    const left = await knex('artifacts').where({ client_id: client.id }).whereNull('destroyed_at').pluck('kind');
    expect(left).toEqual([]);
    const events = await knex('audit_events').where({ client_id: client.id }).orderBy('id').pluck('type');
    expect(events).toEqual(expect.arrayContaining(['client.registered', 'client.deleted', 'grant.revoked']));
  });

  test('an operator who deletes it ends its own token, too, and an operator’s client of that id is not managed by it', async () => {
    const client = await register(server.issuer);
    await server.domains.deleteClient(client.id);
    const left = await server.domains.database.knex('artifacts').where({ client_id: client.id }).pluck('kind');
    expect(left).toEqual([]);
    const other = await register(server.issuer);
    // As if the row had been left behind.
    await server.domains.database.knex('clients').where({ id: other.id }).update({ origin: 'operator' });
    await server.domains.database.knex('client_secrets').where({ client_id: other.id }).delete();
    await server.domains.clients.rotateSecret(other.id);
    expect((await send('GET', other.uri, { token: other.token })).status).toBe(401);
  });

  test('the token of one client manages no other, and is dead after the attempt', async () => {
    const [one, other] = [await register(server.issuer), await register(server.issuer)];
    expect((await send('GET', other.uri, { token: one.token })).status).toBe(401);
    expect((await send('DELETE', other.uri, { token: other.token })).status).toBe(204);
    expect((await send('GET', one.uri, { token: one.token })).status).toBe(401);
  });

  test('nobody manages anything with an access token, and nobody calls with the token of a registration', async () => {
    const client = await register(server.issuer);
    const tokens = await signInForTokens(server.issuer, client, account);
    expect((await send('GET', client.uri, { token: tokens.access_token })).status).toBe(401);
    expect((await send('GET', client.uri)).status).toBe(401);
    expect((await userinfo(server.issuer, client.token)).status).toBe(401);
    expect((await post(`${server.issuer}/introspect`, client, { token: client.token })).body).toEqual({
      active: false,
    });
  });
});
