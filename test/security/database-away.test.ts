import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createTestApiKey, type TestApiKey } from '../harness/api-keys.ts';
import { asSuperuser } from '../harness/database.ts';
import {
  askForCodes,
  DEVICE_CODE_GRANT,
  type DeviceCodes,
  enterCode,
  letIntervalsPass,
  poll,
} from '../harness/devices.ts';
import { createTestAccount, createTestApi, createTestClient, type TestClient } from '../harness/factories.ts';
import { authorizationRequest, codeFor } from '../harness/flows.ts';
import { recordingLogger } from '../harness/loggers.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { exchange, TOKEN_EXCHANGE } from '../harness/token-exchange.ts';
import {
  type Answer,
  clientCredentials,
  introspect,
  isActive,
  post,
  redeem,
  refresh,
  revoke,
  serviceToken,
  userinfo,
} from '../harness/token-requests.ts';
import { expectUnavailable } from '../harness/unavailable.ts';
import { SEEN_WITHIN_MS, until } from '../harness/until.ts';

const log = recordingLogger();
let server: TestServer;
let databaseName: string;
let client: TestClient;
let tokens: { access: string; refresh: string; jwt: string; ownJwt: string };
let apiKey: TestApiKey;
let left: { code: string; verifier: string };
let device: DeviceCodes;
let person: Person;
let credentials: { login: string; password: string };

beforeAll(async () => {
  server = await startTestServer({ logger: log.logger });
  databaseName = new URL(server.databaseUrl).pathname.slice(1);
});
afterAll(() => server.close());

beforeEach(async () => {
  const { domains, issuer } = server;
  const api = await createTestApi(domains, { tokenFormat: 'jwt' });
  const scope = api.scopes.map((known) => known.scope).join(' ');
  client = await createTestClient(domains, {
    metadata: {
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials', DEVICE_CODE_GRANT, TOKEN_EXCHANGE],
      scope: `openid offline_access ${scope}`,
    },
  });
  const { login, password } = await createTestAccount(domains);
  credentials = { login, password };
  person = new Person();
  const parameters = { scope: `openid offline_access`, prompt: 'consent' };
  const first = await codeFor(issuer, client, credentials, { person, parameters });
  const opaque = (await redeem(issuer, client, first.code, first.verifier)).body;
  const forApi = { scope: `openid ${scope}`, resource: api.identifier };
  const second = await codeFor(issuer, client, credentials, { person, parameters: forApi });
  const jwt = (await redeem(issuer, client, second.code, second.verifier, { resource: api.identifier })).body;
  tokens = {
    access: String(opaque.access_token),
    refresh: String(opaque.refresh_token),
    jwt: String(jwt.access_token),
    ownJwt: await serviceToken(issuer, client, { scope }),
  };
  apiKey = await createTestApiKey(domains, {
    owner: { kind: 'client', clientId: client.id },
    scopes: scope.split(' '),
  });
  left = await codeFor(issuer, client, credentials, { person });
  device = await askForCodes(issuer, client);
  expect(await isActive(issuer, client, tokens.jwt)).toBe(true);
});
afterEach(restore);

/** Takes the database away as an outage does: every connection is cut, and no new one is had. */
async function takeAway(): Promise<void> {
  await asSuperuser(`alter database ${databaseName} with allow_connections false`);
  await asSuperuser(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${databaseName}'`);
}

async function restore(): Promise<void> {
  await asSuperuser(`alter database ${databaseName} with allow_connections true`);
}

const requests = (): Record<string, () => Promise<Answer>> => {
  const { issuer } = server;
  return {
    'introspection of an opaque token': () => introspect(issuer, client, tokens.access),
    'introspection of a JWT': () => introspect(issuer, client, tokens.jwt),
    'introspection of a refresh token': () => introspect(issuer, client, tokens.refresh),
    'introspection of nothing known': () => introspect(issuer, client, 'x'.repeat(43)),
    'redemption of a code': () => redeem(issuer, client, left.code, left.verifier),
    'redemption of no code': () => redeem(issuer, client, 'x'.repeat(43), left.verifier),
    refresh: () => refresh(issuer, client, tokens.refresh),
    'revocation of a token': () => revoke(issuer, client, tokens.access),
    'revocation of a person’s JWT': () => revoke(issuer, client, tokens.jwt),
    'revocation of a client’s JWT': () => revoke(issuer, client, tokens.ownJwt),
    'revocation of nothing known': () => revoke(issuer, client, 'x'.repeat(43)),
    'introspection of an API key': () => introspect(issuer, client, apiKey.key),
    'revocation of an API key': () => revoke(issuer, client, apiKey.key),
    'a token by API key': () => clientCredentials(issuer, apiKey),
    userinfo: () => userinfo(issuer, tokens.access),
    'exchange of an opaque token': () => exchange(issuer, client, tokens.access),
    'exchange of a JWT': () => exchange(issuer, client, tokens.jwt),
    'exchange of nothing known': () => exchange(issuer, client, 'x'.repeat(43)),
    'a poll of a device': () => poll(issuer, client, device.device_code),
    'a device that begins': () => post(`${issuer}/device_authorization`, client, { scope: 'openid' }),
    'a client that is not remembered': () => introspect(issuer, { id: 'unheard-of', secret: 'x' }, tokens.access),
    'a wrong secret': () => introspect(issuer, { id: client.id, secret: 'wrong' }, tokens.access),
  };
};

describe('while the database is away', () => {
  test('no token is called alive or dead: /token, /introspect, /revoke and /userinfo say 503 and when to try again', async () => {
    await takeAway();
    for (const [what, send] of Object.entries(requests())) {
      // A wrong secret may be known to be wrong from memory; it is never taken for right.
      const answer = await send();
      if (what === 'a wrong secret' && answer.status === 401) continue;
      expectUnavailable(answer, what);
    }
  });

  test.each<[string, () => string]>([
    ['a client’s own JWT, of which nothing is stored,', () => tokens.ownJwt],
    ['an API key that was asked for a moment ago', () => apiKey.key],
  ])('%s is called neither within a second', async (_, current) => {
    const { issuer } = server;
    const value = current();
    expect(await isActive(issuer, client, value)).toBe(true);
    await takeAway();
    await until(
      'it is no longer answered',
      async () => (await introspect(issuer, client, value)).status === 503,
      SEEN_WITHIN_MS,
    );
    expectUnavailable(await introspect(issuer, client, value), 'introspection');
    await restore();
    await until('it is alive again', async () => (await introspect(issuer, client, value)).body.active === true);
  });

  test('a JWT whose revocation could not be written is alive afterwards, and can be revoked then', async () => {
    const { issuer } = server;
    await takeAway();
    for (const token of [tokens.jwt, tokens.ownJwt])
      expectUnavailable(await revoke(issuer, client, token), 'revocation');
    await restore();
    for (const token of [tokens.jwt, tokens.ownJwt]) {
      await until('it is alive again', async () => (await introspect(issuer, client, token)).body.active === true);
      expect((await revoke(issuer, client, token)).status).toBe(200);
      expect(await isActive(issuer, client, token)).toBe(false);
    }
  });

  test('the same holds for requests that are under way when it goes', async () => {
    const { issuer } = server;
    const isDone = { current: false };
    const seen: Answer[] = [];
    const load = Array.from({ length: 6 }, async (_, index) => {
      while (!isDone.current) seen.push(await introspect(issuer, client, index % 2 === 0 ? tokens.access : tokens.jwt));
    });
    await until('requests are answered', () => seen.length > 50);
    await takeAway();
    await until('requests are refused', () => seen.filter(({ status }) => status === 503).length > 20);
    await restore();
    await until('requests are answered again', () => seen.at(-1)?.status === 200);
    isDone.current = true;
    await Promise.all(load);
    for (const answer of seen) {
      if (answer.status === 200) expect(answer.body.active).toBe(true);
      else expectUnavailable(answer, 'under way');
    }
  });

  test('people see a page that says so, at every step', async () => {
    const { issuer } = server;
    const visitor = new Person();
    const signIn = await visitor.open(authorizationRequest(issuer, client.id).url);
    const owner = new Person();
    const enter = await owner.open(`${issuer}/device`);
    const confirm = await enterCode(issuer, owner, device.user_code);
    await takeAway();
    const pages = [
      await visitor.open(authorizationRequest(issuer, client.id).url),
      await visitor.open(signIn.url),
      await visitor.submit(signIn, credentials, '/sign-in'),
      await visitor.submit(signIn, { ...credentials, password: 'wrong-password-1' }, '/sign-in'),
      await person.open(authorizationRequest(issuer, client.id, { prompt: 'none' }).url),
      await person.open(`${issuer}/logout`),
      await owner.open(`${issuer}/device`),
      await owner.submit(enter, { user_code: device.user_code }, '/device'),
      await owner.submit(confirm, { confirm: 'yes' }, '/device'),
      await new Person().open(`${issuer}/device`, { method: 'POST', body: new URLSearchParams({ user_code: 'x' }) }),
    ];
    for (const [index, { response, html, url }] of pages.entries()) {
      if (url.startsWith('https://app.example.com')) {
        expect(new URL(url).searchParams.get('error')).toBe('temporarily_unavailable');
        expect(new URL(url).searchParams.has('code')).toBe(false);
        continue;
      }
      expect({ index, status: response.status, error: errorOnPage(html) }).toEqual({
        index,
        status: 503,
        error: 'temporarily_unavailable',
      });
      expect(html).not.toContain(databaseName);
    }
  });

  test('the node says that it is not ready, and lives', async () => {
    await takeAway();
    const ready = async () => (await fetch(`${server.issuer}/health/ready`)).status;
    await until('the node is not ready', async () => (await ready()) === 503);
    expect((await fetch(`${server.issuer}/health/live`)).status).toBe(200);
    expect((await fetch(`${server.issuer}/jwks`)).status).toBe(200);
    expect((await fetch(`${server.issuer}/.well-known/openid-configuration`)).status).toBe(200);
    await restore();
    await until('the node is ready', async () => (await ready()) === 200);
  });

  test('nothing of the database is told to the outside', async () => {
    await takeAway();
    const answers = await Promise.all(Object.values(requests()).map((send) => send()));
    const health = await (await fetch(`${server.issuer}/health/ready`)).text();
    const told = JSON.stringify(answers.map(({ body }) => body)) + health;
    expect(told).not.toContain(databaseName);
    expect(told).not.toMatch(/postgres|127\.0\.0\.1|ECONN|relation|select /i);
  });
});

describe('when the database is back', () => {
  test('everything goes on by itself, and what was refused meanwhile has not been used up', async () => {
    const { issuer } = server;
    await takeAway();
    for (const send of Object.values(requests())) await send();
    await restore();
    await until('introspection answers', async () => (await introspect(issuer, client, tokens.access)).status === 200);
    for (const token of Object.values(tokens)) expect(await isActive(issuer, client, token)).toBe(true);
    expect((await redeem(issuer, client, left.code, left.verifier)).status).toBe(200);
    expect((await refresh(issuer, client, tokens.refresh)).status).toBe(200);
    expect((await userinfo(issuer, tokens.access)).status).toBe(200);
    expect((await revoke(issuer, client, tokens.access)).status).toBe(200);
    expect(await isActive(issuer, client, tokens.access)).toBe(false);
    expect((await clientCredentials(issuer, client)).status).toBe(200);
    await letIntervalsPass(server.domains.database.pool);
    expect((await poll(issuer, client, device.device_code)).body.error).toBe('authorization_pending');
    expect((await enterCode(issuer, new Person(), device.user_code)).response.status).toBe(200);
    const visitor = new Person();
    expect((await codeFor(issuer, client, credentials, { person: visitor })).code).toBeTruthy();
  });
});

test('an audit trail that can’t be written keeps the answer back: consent and sign-in fail closed', async () => {
  const { issuer, domains } = server;
  const visitor = new Person();
  const signIn = await visitor.open(authorizationRequest(issuer, client.id).url);
  const { knex } = domains.database;
  await knex.raw('alter table audit_events rename to audit_events_away');
  try {
    const refused = await visitor.submit(signIn, credentials, '/sign-in');
    expect(refused.response.status).toBeGreaterThanOrEqual(500);
    const silent = await visitor.open(authorizationRequest(issuer, client.id, { prompt: 'none' }).url);
    expect(new URL(silent.url).searchParams.get('error')).toBe('login_required');
    const revoked = await post(`${issuer}/revoke`, client, { token: tokens.access });
    expect(revoked.status).toBeGreaterThanOrEqual(500);
  } finally {
    await knex.raw('alter table audit_events_away rename to audit_events');
  }
  expect((await visitor.submit(signIn, credentials, '/sign-in')).response.status).toBeLessThan(500);
});
