import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, generateKeyPair, SignJWT } from 'jose';
import { startHttpServer } from '../browser/http-server.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../harness/factories.ts';
import { signInForTokens } from '../harness/flows.ts';
import { recordingLogger } from '../harness/loggers.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { exchanged, TOKEN_EXCHANGE } from '../harness/token-exchange.ts';
import { type Client, revoke, serviceToken } from '../harness/token-requests.ts';
import { type InstalledExample, installExample, type RunningProgram } from './example-program.ts';
import { walkthrough } from './walkthrough.ts';

const GATEWAY = 'urn:shop:gateway';
const ORDERS = 'urn:shop:orders';
const STOCK = 'urn:shop:stock';

const log = recordingLogger();
let server: TestServer;
let example: InstalledExample;
let clients: Record<'gateway' | 'orders' | 'app', TestClient>;
let person: Awaited<ReturnType<typeof createTestAccount>>;
let running: Record<'gateway' | 'orders' | 'stock', RunningProgram>;

beforeAll(async () => {
  [server, example] = await Promise.all([
    startTestServer({ logger: log.logger }),
    installExample({
      name: 'microservices',
      install: [['npm', 'ci', '--no-audit', '--no-fund']],
      command: [process.execPath, 'gateway.js'],
    }),
  ]);
  const { domains } = server;
  await createTestApi(domains, { identifier: GATEWAY, scopes: ['orders:read'], tokenFormat: 'jwt' });
  await createTestApi(domains, { identifier: ORDERS, scopes: ['orders:read'], tokenFormat: 'jwt' });
  await createTestApi(domains, { identifier: STOCK, scopes: ['orders:read', 'stock:read'], tokenFormat: 'jwt' });
  const gateway = await createServiceClient(domains, 'orders:read', {
    metadata: { client_id: 'gateway', grant_types: [TOKEN_EXCHANGE] },
  });
  const orders = await createServiceClient(domains, 'orders:read stock:read', {
    metadata: { client_id: 'orders', grant_types: ['client_credentials', TOKEN_EXCHANGE] },
  });
  await domains.apis.update(GATEWAY, { introspectionClientIds: ['gateway'] });
  await domains.apis.update(ORDERS, { introspectionClientIds: ['orders'] });
  const app = await createTestClient(domains, { metadata: { scope: 'openid orders:read' } });
  clients = { gateway, orders, app };
  person = await createTestAccount(domains);
  running = await startAll();
}, 240_000);
afterAll(async () => {
  await example?.remove();
  await server?.close();
});

const startOne = (name: string, settings: Record<string, string>, client?: Client) =>
  example.start({ ISSUER: server.issuer, ...(client && { CLIENT_SECRET: client.secret }), ...settings }, [
    process.execPath,
    `${name}.js`,
  ]);

async function startAll(settings: Record<string, string> = {}): Promise<typeof running> {
  const stock = await startOne('stock', settings);
  const orders = await startOne('orders', { ...settings, STOCK_URL: stock.address }, clients.orders);
  const gateway = await startOne('gateway', { ...settings, ORDERS_URL: orders.address }, clients.gateway);
  return { gateway, orders, stock };
}

async function tokenOfPerson(resource = GATEWAY, who = person): Promise<string> {
  const tokens = await signInForTokens(server.issuer, clients.app, who, {
    parameters: { scope: 'openid orders:read', resource },
    redemption: { resource },
  });
  return tokens.access_token;
}

async function get(address: string, path: string, token?: string) {
  const response = await fetch(`${address}${path}`, token ? { headers: { authorization: `Bearer ${token}` } } : {});
  const text = await response.text();
  return {
    status: response.status,
    body: text === '' ? undefined : JSON.parse(text),
    challenge: response.headers.get('www-authenticate'),
  };
}

const tokenRequests = () => log.lines.filter(({ endpoint }) => endpoint === 'token').length;

test('every service knows for whom it works, and who acts', async () => {
  expect(await get(running.gateway.address, '/orders', await tokenOfPerson())).toEqual({
    status: 200,
    body: {
      customer: person.account.id,
      levels: { tea: 12, coffee: 3, askedBy: 'orders' },
      reservations: { customer: person.account.id, tea: 1, actors: ['orders', 'gateway'] },
    },
    challenge: null,
  });
});

test('people who call at the same time are not taken for one another', async () => {
  const people = await Promise.all(Array.from({ length: 4 }, () => createTestAccount(server.domains)));
  const tokens = await Promise.all(people.map((who) => tokenOfPerson(GATEWAY, who)));
  for (const round of ['first', 'kept']) {
    const answers = await Promise.all(tokens.map((token) => get(running.gateway.address, '/orders', token)));
    expect({ round, customers: answers.map(({ body }) => [body.customer, body.reservations.customer]) }).toEqual({
      round,
      customers: people.map(({ account }) => [account.id, account.id]),
    });
  }
});

describe('a gateway whose identifier is a URL', () => {
  const audience = 'https://shop.example.com/api';
  const path = '/.well-known/oauth-protected-resource/api';

  test('describes itself, and says where in its challenges (RFC 9728)', async () => {
    const program = await startOne('gateway', { GATEWAY_AUDIENCE: audience }, clients.gateway);
    try {
      const described = await fetch(`${program.address}${path}`);
      expect(await described.json()).toEqual({
        resource: audience,
        authorization_servers: [server.issuer],
        bearer_methods_supported: ['header'],
      });
      const refused = await fetch(`${program.address}/orders`);
      expect(refused.status).toBe(401);
      expect(refused.headers.get('www-authenticate')).toBe(
        `Bearer resource_metadata="https://shop.example.com${path}"`,
      );
    } finally {
      await program.stop();
    }
  });
});

describe('a token that was stolen', () => {
  const DOORS = [
    { service: 'gateway', path: '/orders' },
    { service: 'orders', path: '/orders' },
    { service: 'stock', path: '/levels' },
    { service: 'stock', path: '/reservations' },
  ] as const;

  test('opens no other service than the one that it is for', async () => {
    const ofPerson = await tokenOfPerson();
    const forOrders = await exchanged(server.issuer, clients.gateway, ofPerson, { audience: ORDERS });
    const forStock = await exchanged(server.issuer, clients.orders, forOrders, { audience: STOCK });
    const ofOrders = await serviceToken(server.issuer, clients.orders, { resource: STOCK, scope: 'stock:read' });
    const statusOf = async (token: string) =>
      Promise.all(DOORS.map(async ({ service, path }) => (await get(running[service].address, path, token)).status));
    expect(await statusOf(ofPerson)).toEqual([200, 401, 401, 401]);
    expect(await statusOf(forOrders)).toEqual([401, 200, 401, 401]);
    // What it is for still decides: levels want another scope than the person's.
    expect(await statusOf(forStock)).toEqual([401, 401, 403, 200]);
    expect(await statusOf(ofOrders)).toEqual([401, 401, 200, 403]);
  });

  test('is refused with a challenge that says why', async () => {
    const wrong = await tokenOfPerson(ORDERS);
    expect(await get(running.gateway.address, '/orders', wrong)).toEqual({
      status: 401,
      body: { error: 'invalid_token' },
      challenge: 'Bearer error="invalid_token"',
    });
    expect(await get(running.gateway.address, '/orders')).toMatchObject({ status: 401, challenge: 'Bearer' });
    const [header, payload] = (await tokenOfPerson()).split('.');
    for (const forged of [`${header}.${payload}.`, `${header}.${payload}.${randomBytes(256).toString('base64url')}`]) {
      expect((await get(running.gateway.address, '/orders', forged)).status).toBe(401);
    }
  });
});

test('an issuer that is reached without TLS is one of this machine', async () => {
  await expect(startOne('stock', { ISSUER: 'http://id.example.com' })).rejects.toThrow('ISSUER wants https');
});

test('whoever makes up key ids soon after each other makes a service ask for the keys once', async () => {
  const looks = () => log.lines.filter(({ endpoint }) => endpoint === 'jwks').length;
  const { privateKey } = await generateKeyPair('RS256');
  const stock = await startOne('stock', {});
  const before = looks();
  for (let count = 0; count < 5; count += 1) {
    const forged = await new SignJWT({}).setProtectedHeader({ alg: 'RS256', kid: `made-up-${count}` }).sign(privateKey);
    expect((await get(stock.address, '/levels', forged)).status).toBe(401);
  }
  expect(looks() - before).toBe(1);
  await stock.stop();
});

describe('who acts', () => {
  test('a person’s own token for the orders doesn’t pass by the gateway', async () => {
    const direct = await tokenOfPerson(ORDERS);
    expect(await get(running.orders.address, '/orders', direct)).toMatchObject({ status: 403, challenge: null });
  });

  test('a service can’t look up a person’s reservations in its own name', async () => {
    const own = await serviceToken(server.issuer, clients.orders, { resource: STOCK, scope: 'orders:read' });
    expect(await get(running.stock.address, '/reservations', own)).toMatchObject({ status: 403 });
  });

  test('who acted before is not who acts now', async () => {
    const forOrders = await exchanged(server.issuer, clients.gateway, await tokenOfPerson(), { audience: ORDERS });
    const forStock = await exchanged(server.issuer, clients.orders, forOrders, { audience: STOCK });
    expect(decodeJwt(forStock)).toMatchObject({ act: { sub: 'orders', act: { sub: 'gateway' } } });
    await server.domains.apis.update(STOCK, { introspectionClientIds: ['gateway'] });
    const further = await exchanged(server.issuer, clients.gateway, forStock, { audience: STOCK });
    await server.domains.apis.update(STOCK, { introspectionClientIds: [] });
    expect(await get(running.stock.address, '/reservations', further)).toMatchObject({ status: 403 });
  });
});

describe('what goes on to the next service', () => {
  test('is never the token that came', async () => {
    const seen: (string | undefined)[] = [];
    const recorder = await startHttpServer((_url, request) => {
      seen.push(request.headers.authorization);
      return { body: {} };
    });
    const gateway = await startOne('gateway', { ORDERS_URL: recorder.origin }, clients.gateway);
    const token = await tokenOfPerson();
    expect((await get(gateway.address, '/orders', token)).status).toBe(200);
    await Promise.all([gateway.stop(), recorder.close()]);
    expect(seen).toEqual([expect.stringMatching(/^Bearer /)]);
    const sent = String(seen[0]).slice('Bearer '.length);
    expect(sent).not.toBe(token);
    expect(decodeJwt(sent)).toMatchObject({ aud: ORDERS, sub: person.account.id, act: { sub: 'gateway' } });
  });

  test('goes nowhere that a service redirects to', async () => {
    const seen: string[] = [];
    const thief = await startHttpServer((url) => {
      seen.push(url.href);
      return { body: {} };
    });
    const compromised = await startHttpServer(() => ({ status: 307, headers: { location: thief.origin } }));
    const gateway = await startOne('gateway', { ORDERS_URL: compromised.origin }, clients.gateway);
    expect((await get(gateway.address, '/orders', await tokenOfPerson())).status).toBe(502);
    await Promise.all([gateway.stop(), compromised.close(), thief.close()]);
    expect(seen).toEqual([]);
  });
});

describe('tokens for the next service', () => {
  const inParallel = async (address: string, token: string) => {
    const before = tokenRequests();
    const answers = await Promise.all(Array.from({ length: 8 }, () => get(address, '/orders', token)));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    return tokenRequests() - before;
  };

  test('are asked for once by requests at the same time, and kept', async () => {
    const fresh = await startAll();
    const token = await tokenOfPerson();
    // The gateway's exchange, that of the orders, and the orders' own.
    expect(await inParallel(fresh.gateway.address, token)).toBe(3);
    expect(await inParallel(fresh.gateway.address, token)).toBe(0);
    // Somebody else's: an exchange each, and the same own one.
    const before = tokenRequests();
    const other = await tokenOfPerson();
    expect((await get(fresh.gateway.address, '/orders', other)).status).toBe(200);
    // With the redemption of the code.
    expect(tokenRequests() - before).toBe(3);
    await Promise.all(Object.values(fresh).map((program) => program.stop()));
  });

  test('are asked for anew when they are about to expire', async () => {
    const fresh = await startAll({ RENEW_BEFORE_SECONDS: '600' });
    const token = await tokenOfPerson();
    const before = tokenRequests();
    for (let calls = 0; calls < 3; calls += 1) await get(fresh.gateway.address, '/orders', token);
    expect(tokenRequests() - before).toBe(9);
    await Promise.all(Object.values(fresh).map((program) => program.stop()));
  });

  test('are not had for one that was revoked, wherever the chain is asked first', async () => {
    const token = await tokenOfPerson();
    await revoke(server.issuer, clients.app, token);
    expect(await get(running.gateway.address, '/orders', token)).toMatchObject({
      status: 401,
      challenge: 'Bearer error="invalid_token"',
    });
    const later = await tokenOfPerson();
    expect((await get(running.gateway.address, '/orders', later)).status).toBe(200);
    // An instance of the orders that has seen nobody yet, behind a gateway that knows the token.
    const orders = await startOne('orders', { STOCK_URL: running.stock.address }, clients.orders);
    const forOrders = await exchanged(server.issuer, clients.gateway, later, { audience: ORDERS });
    await revoke(server.issuer, clients.app, later);
    expect((await get(orders.address, '/orders', forOrders)).status).toBe(401);
    await orders.stop();
  });
});

test('a service that is away is told from a token that is bad, and nothing of it is shown', async () => {
  const gateway = await startOne('gateway', { ORDERS_URL: 'http://127.0.0.1:9' }, clients.gateway);
  expect(await get(gateway.address, '/orders', await tokenOfPerson())).toEqual({
    status: 502,
    body: { error: 'temporarily_unavailable' },
    challenge: null,
  });
  await gateway.stop();
});

walkthrough('examples/microservices/README.md');
walkthrough('docs/guides/microservices.md');
