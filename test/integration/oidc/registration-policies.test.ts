import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { unusedClientsSweep } from '../../../src/compose/registration.ts';
import { createTestAccount, createTestApi, REDIRECT_URI, unique } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { askToRegister, register, send, WEB_APP } from '../../harness/registration.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { TOKEN_EXCHANGE } from '../../harness/token-exchange.ts';
import { clientCredentials, introspect } from '../../harness/token-requests.ts';

const OFTEN = { REGISTRATIONS_PER_ADDRESS: '100000' };
const DAY_MS = 86_400_000;
const SERVICE = { grant_types: ['client_credentials'], response_types: [], redirect_uris: [] };

let open: TestServer;
let byToken: TestServer;
let account: Awaited<ReturnType<typeof createTestAccount>>;

beforeAll(async () => {
  open = await startTestServer({ environment: { ...OFTEN, REGISTRATION: 'open' } });
  byToken = await startTestServer({
    node: open,
    environment: { ...OFTEN, REGISTRATION: 'token', ISSUER: open.issuer },
  });
  account = await createTestAccount(open.domains);
});
afterAll(async () => {
  await byToken?.close();
  await open?.close();
});

async function leave(policies: readonly string[] = [], uses?: number) {
  const made = await open.domains.registrationTokens.create({ policies, uses });
  if (!made.ok) throw new Error(made.reason);
  return { id: made.token.id, value: made.value };
}

async function refusalOf(members: object, token?: string) {
  const { status, body } = await askToRegister(open.issuer, members, token);
  return { status, error: body.error, description: String(body.error_description) };
}

describe('what a client that nobody lets in more may be', () => {
  test.each([
    ['a service', SERVICE],
    ['one that exchanges tokens', { grant_types: ['authorization_code', TOKEN_EXCHANGE] }],
    [
      'one that asks people elsewhere (CIBA)',
      {
        grant_types: ['authorization_code', 'urn:openid:params:grant-type:ciba'],
        backchannel_token_delivery_mode: 'poll',
      },
    ],
  ])('not %s', async (_, members) => {
    const { status, error } = await refusalOf(members);
    expect({ status, error }).toEqual({ status: 400, error: 'invalid_client_metadata' });
  });

  test('it may ask for the scopes of OpenID and for none of an API', async () => {
    const api = await createTestApi(open.domains);
    const [scope] = api.scopes.map((each) => each.scope);
    expect(await refusalOf({ scope: `openid ${scope}` })).toMatchObject({ error: 'invalid_client_metadata' });
    const client = await register(open.issuer);
    expect(client.body.scope).toBe('openid profile email address phone offline_access');
    const parameters = { scope: 'openid', resource: api.identifier };
    await expect(signInForTokens(open.issuer, client, account, { parameters })).rejects.toThrow(/invalid_target/);
  });

  test('it may call an API that is open to whoever comes, as long as that is', async () => {
    const api = await createTestApi(open.domains, { isOpenToUnregistered: true, tokenFormat: 'jwt' });
    const [scope = ''] = api.scopes.map((each) => each.scope);
    const client = await register(open.issuer, { scope: `openid ${scope}` });
    const options = {
      parameters: { scope: `openid ${scope}`, resource: api.identifier },
      redemption: { resource: api.identifier },
    };
    expect((await signInForTokens(open.issuer, client, account, options)).scope).toBe(scope);
    await open.domains.apis.update(api.identifier, { isOpenToUnregistered: false });
    await expect(signInForTokens(open.issuer, client, account, options)).rejects.toThrow(/invalid_target/);
  });

  test('it keeps no operator from taking a scope away, and goes on without', async () => {
    const api = await createTestApi(open.domains, { isOpenToUnregistered: true });
    const client = await register(open.issuer);
    expect(client.body.scope).toContain(api.scopes[0]?.scope);
    expect((await open.domains.apis.delete(api.identifier)).ok).toBe(true);
    expect((await signInForTokens(open.issuer, client, account)).access_token).toEqual(expect.any(String));
    expect((await send('GET', client.uri, { token: client.token })).status).toBe(200);
  });

  test('it gets no exception from what is asked of everyone, nor what only an operator gives', async () => {
    const { id, body } = await register(open.issuer, {
      require_pkce: false,
      profile: 'oidc-basic',
      token_exchange_modes: ['impersonation'],
      introspect_any: true,
      may_introspect_any: true,
      roles: ['admin'],
      apis: ['urn:any'],
      allowed_origins: ['https://evil.example.com'],
      is_demo: true,
      origin: 'operator',
    });
    for (const member of ['require_pkce', 'profile', 'token_exchange_modes', 'introspect_any', 'roles']) {
      expect(body).not.toHaveProperty(member);
    }
    expect(await open.domains.clients.find(id)).toMatchObject({
      mayIntrospectAny: false,
      roles: [],
      apis: [],
      allowedOrigins: [],
      isDemo: false,
      origin: 'dynamic',
    });
    expect(await refusalOf({ access_token_ttl_seconds: 100_000 })).toMatchObject({ error: 'invalid_client_metadata' });
  });

  test('it may ask to be held to more', async () => {
    const { body } = await register(open.issuer, { require_pkce: true, access_token_ttl_seconds: 60 });
    expect(body).toMatchObject({ require_pkce: true, access_token_ttl_seconds: 60 });
  });

  test('it has no links and no logo but on the host of a redirect URI or below it', async () => {
    const own = {
      client_uri: 'https://app.example.com/',
      logo_uri: 'https://static.app.example.com/logo.png',
      policy_uri: 'https://app.example.com/policy',
      tos_uri: 'https://app.example.com/terms',
    };
    expect((await register(open.issuer, own)).body).toMatchObject(own);
    const others = {
      client_uri: 'https://example.com/',
      logo_uri: 'https://notapp.example.com.evil.example/logo.png',
      policy_uri: 'http://app.example.com/policy',
      tos_uri: 'javascript:alert(1)',
    };
    const { body } = await register(open.issuer, others);
    for (const member of Object.keys(others)) expect(body).not.toHaveProperty(member);
  });

  test('pages of one that keeps no secret may call from where its codes go, and from nowhere else', async () => {
    const { id } = await register(open.issuer, { token_endpoint_auth_method: 'none' });
    expect((await open.domains.clients.find(id))?.allowedOrigins).toEqual([new URL(REDIRECT_URI).origin]);
  });
});

describe('the token of an operator (RFC 7591, section 3)', () => {
  test('is wanted where registration is by token', async () => {
    const { address } = byToken;
    expect((await askToRegister(address)).status).toBe(401);
    expect((await askToRegister(address, {}, 'tsr_of-nobody')).body.error).toBe('invalid_token');
    expect((await askToRegister(address, {}, (await leave()).value)).status).toBe(201);
  });

  test('where anybody may register, a wrong one is refused all the same', async () => {
    expect(await refusalOf({}, 'tsr_of-nobody')).toMatchObject({ status: 401, error: 'invalid_token' });
  });

  test('lets a service in, for the API that it names alone', async () => {
    const [api, other] = [await createTestApi(open.domains), await createTestApi(open.domains)];
    const { value } = await leave(['services', `api:${api.identifier}`]);
    const [scope] = api.scopes.map((each) => each.scope);
    const client = await register(open.issuer, { ...SERVICE, scope }, value);
    const answer = await clientCredentials(open.issuer, client, { resource: api.identifier });
    expect(answer.body.scope).toBe(scope);
    const foreign = await clientCredentials(open.issuer, client, { resource: other.identifier });
    expect(foreign.body.error).toBe('invalid_target');
    expect((await introspect(open.issuer, client, String(answer.body.access_token))).body.active).toBe(true);
    expect(await refusalOf({ ...SERVICE, scope: other.scopes[0]?.scope }, value)).toMatchObject({
      error: 'invalid_client_metadata',
    });
  });

  test('a service without an API has nothing to ask for', async () => {
    const { value } = await leave(['services']);
    expect(await refusalOf(SERVICE, value)).toMatchObject({ error: 'invalid_client_metadata' });
    expect(await refusalOf({ ...SERVICE, scope: 'openid' }, value)).toMatchObject({ error: 'invalid_client_metadata' });
  });

  test('lets a client have links anywhere', async () => {
    const logo = 'https://images.example.net/logo.png';
    const { body } = await register(open.issuer, { logo_uri: logo }, (await leave(['any-links'])).value);
    expect(body.logo_uri).toBe(logo);
  });

  test('what it allowed holds for later changes, too', async () => {
    const api = await createTestApi(open.domains);
    const { value } = await leave(['services', `api:${api.identifier}`]);
    const client = await register(open.issuer, { ...SERVICE }, value);
    const body = { ...SERVICE, client_id: client.id, client_name: 'Renamed' };
    expect((await send('PUT', client.uri, { token: client.token, body })).status).toBe(200);
  });

  test('is good for as many clients as it says, also where they come at once', async () => {
    const { value } = await leave([], 2);
    const answers = await Promise.all(Array.from({ length: 6 }, () => askToRegister(open.issuer, {}, value)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 401, 401, 401, 401]);
  });

  test('a registration that is refused uses none of it up', async () => {
    const { value } = await leave([], 1);
    expect(await refusalOf({ redirect_uris: [] }, value)).toMatchObject({ status: 400 });
    expect(
      await refusalOf({ sector_identifier_uri: 'https://127.0.0.1:1/', subject_type: 'pairwise' }, value),
    ).toMatchObject({ status: 400 });
    expect((await askToRegister(open.issuer, {}, value)).status).toBe(201);
  });

  test('is dead on every node at once when it is revoked, and when its time is over', async () => {
    const { id, value } = await leave();
    expect(await open.domains.registrationTokens.revoke(id)).toEqual({ ok: true });
    expect((await askToRegister(byToken.address, {}, value)).status).toBe(401);
    const over = await open.domains.registrationTokens.create({
      policies: [],
      expiresAt: new Date(open.domains.clock() - 1),
    });
    if (!over.ok) throw new Error(over.reason);
    expect((await askToRegister(byToken.address, {}, over.value)).status).toBe(401);
  });

  test('names no policy that there is not', async () => {
    const made = await open.domains.registrationTokens.create({ policies: ['everything'] });
    expect(made).toMatchObject({ ok: false, reason: expect.stringContaining('everything is none of') });
  });
});

describe('how many there may be', () => {
  test('one address registers and changes so many in an hour, and is told when to come back', async () => {
    const slow = await startTestServer({ environment: { REGISTRATION: 'open', REGISTRATIONS_PER_ADDRESS: '3' } });
    try {
      const client = await register(slow.issuer);
      await askToRegister(slow.issuer, { redirect_uris: [] });
      const body = { ...WEB_APP, client_id: client.id };
      const changed = await send('PUT', client.uri, { token: client.token, body });
      expect(changed.status).toBe(200);
      const refused = await askToRegister(slow.issuer);
      expect(refused).toMatchObject({ status: 429, body: { error: 'temporarily_unavailable' } });
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      const token = String(changed.body.registration_access_token);
      expect((await send('PUT', client.uri, { token, body })).status).toBe(429);
      expect((await send('GET', client.uri, { token })).status).toBe(200);
    } finally {
      await slow.close();
    }
  });

  test('there are at most so many, also where they come at once', async () => {
    const environment = { ...OFTEN, REGISTRATION: 'open', REGISTRATION_MAX_CLIENTS: '3' };
    const small = await startTestServer({ environment });
    try {
      const answers = await Promise.all(Array.from({ length: 6 }, () => askToRegister(small.issuer)));
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 201, 503, 503, 503]);
    } finally {
      await small.close();
    }
  });

  test('who was never used is removed after a while, with their own token; who was used stays', async () => {
    const forgotten = await register(open.issuer, { client_name: unique('forgotten') });
    const used = await register(open.issuer);
    await signInForTokens(open.issuer, used, account);
    const config = { registration: { unusedDays: 30 } } as Parameters<typeof unusedClientsSweep>[0];
    const at = (days: number) =>
      unusedClientsSweep(config, { ...open.domains, clock: () => Date.now() + days * DAY_MS })(500);
    await at(29);
    expect(await open.domains.clients.find(forgotten.id)).toBeDefined();
    expect(await at(31)).toBeGreaterThan(0);
    expect(await open.domains.clients.find(forgotten.id)).toBeUndefined();
    expect(await open.domains.clients.find(used.id)).toBeDefined();
    const { knex } = open.domains.database;
    expect(await knex('artifacts').where({ client_id: forgotten.id })).toEqual([]);
    expect(await knex('audit_events').where({ client_id: forgotten.id }).pluck('type')).toContain('client.deleted');
  });
});
