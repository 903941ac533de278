import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { exportJWK, exportSPKI, generateKeyPair, importJWK, type JWTPayload, SignJWT } from 'jose';
import type { NewClient } from '../../../src/clients/index.ts';
import { createServiceClient, createTestApi, unique } from '../../harness/factories.ts';
import { type KeyHost, serveJson, startKeyHost } from '../../harness/key-host.ts';
import { recordingLogger } from '../../harness/loggers.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { post } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

/** Registered clients are read anew after a minute, and with them the keys that they publish. */
const AFTER_A_MINUTE_MS = 61_000;
/** The server waits 2.5 s for keys; the rest is for a busy machine. */
const PATIENCE_MS = 6_000;

const { logger, lines } = recordingLogger();
let clockOffsetMs = 0;
let server: TestServer;
let second: TestServer;
const hosts: KeyHost[] = [];
beforeAll(async () => {
  // In Jest's realm the library finds no dispatcher for a guard of its own, and says so once. Ours is another one.
  jest.spyOn(console, 'warn').mockImplementation(() => undefined);
  const clock = () => Date.now() + clockOffsetMs;
  server = await startTestServer({ clock, logger });
  second = await startTestServer({ node: server, environment: { ISSUER: server.issuer } });
});
afterAll(async () => {
  await Promise.all(hosts.map((host) => host.close()));
  await second.close();
  await server.close();
});

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>> & { kid: string; alg: string };
type PublicJwk = { kty: string; [member: string]: unknown };

async function makeKey(alg = 'ES256', kid = unique('kid')): Promise<KeyPair & { jwk: PublicJwk }> {
  const pair = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(pair.publicKey);
  return { ...pair, kid, alg, jwk: { ...jwk, kty: String(jwk.kty), kid, alg, use: 'sig' } };
}

async function clientWith(keys: Pick<NewClient['metadata'], 'jwks' | 'jwks_uri' | 'token_endpoint_auth_signing_alg'>) {
  const api = await createTestApi(server.domains);
  const metadata = { token_endpoint_auth_method: 'private_key_jwt' as const, ...keys };
  return createServiceClient(server.domains, api.scopes[0]?.scope ?? '', { metadata });
}

type Claims = Record<string, unknown>;

function claimsOf(clientId: string, claims: Claims = {}): JWTPayload {
  const now = Math.floor(Date.now() / 1_000);
  const all = { iss: clientId, sub: clientId, aud: server.issuer, jti: unique('jti'), iat: now, exp: now + 60 };
  return Object.fromEntries(Object.entries({ ...all, ...claims }).filter(([, value]) => value !== undefined));
}

/** A client's assertion (RFC 7523, section 2.2); a claim that is set to undefined is left out. */
function assertion(clientId: string, key: KeyPair, claims: Claims = {}, header: object = {}): Promise<string> {
  return new SignJWT(claimsOf(clientId, claims))
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey);
}

function ask(client_assertion: string, address = server.issuer) {
  return post(`${address}/token`, undefined, {
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion,
  });
}

async function expectRefused(client_assertion: string, address = server.issuer): Promise<void> {
  const { status, body } = await ask(client_assertion, address);
  expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
  expect(body.error_description).toBe('client authentication failed');
}

/** A host of keys that is closed with the tests. */
async function hostOf(...parameters: Parameters<typeof startKeyHost>): Promise<KeyHost> {
  const host = await startKeyHost(...parameters);
  hosts.push(host);
  return host;
}

describe('an assertion', () => {
  test.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('signed by %s with the registered key is good', async (alg) => {
    const key = await makeKey(alg);
    const client = await clientWith({ jwks: { keys: [key.jwk] } });
    expect((await ask(await assertion(client.id, key))).status).toBe(200);
    await expectRefused(await assertion(client.id, { ...(await makeKey(alg)), kid: key.kid }));
  });

  test('is for the issuer or the token endpoint, alone or among others', async () => {
    const key = await makeKey();
    const client = await clientWith({ jwks: { keys: [key.jwk] } });
    for (const aud of [server.issuer, `${server.issuer}/token`, [server.issuer, 'https://other.example']]) {
      expect({ aud, status: (await ask(await assertion(client.id, key, { aud }))).status }).toEqual({
        aud,
        status: 200,
      });
    }
  });

  const past = () => Math.floor(Date.now() / 1_000) - 600;
  const bad: Record<string, (clientId: string, key: KeyPair) => Promise<string>> = {
    'for another server': (id, key) => assertion(id, key, { aud: 'https://other.example' }),
    'for others alone': (id, key) => assertion(id, key, { aud: ['https://one.example', 'https://two.example'] }),
    'for a server whose name begins with ours': (id, key) =>
      assertion(id, key, { aud: `${server.issuer}.evil.example` }),
    'for nobody': (id, key) => assertion(id, key, { aud: undefined }),
    'that has expired': (id, key) => assertion(id, key, { iat: past() - 60, exp: past() }),
    'that never expires': (id, key) => assertion(id, key, { exp: undefined }),
    'from the future': (id, key) => assertion(id, key, { nbf: past() + 1_200 }),
    'without a jti': (id, key) => assertion(id, key, { jti: undefined }),
    'by another issuer than its subject': (id, key) => assertion(id, key, { iss: 'somebody-else' }),
    'by nobody': (id, key) => assertion(id, key, { iss: undefined }),
    'by a kid that nobody has': (id, key) => assertion(id, key, {}, { kid: 'unknown' }),
    'whose claims were changed': async (id, key) => {
      const [header, , signature] = (await assertion(id, key)).split('.');
      return [header, Buffer.from(JSON.stringify(claimsOf(id))).toString('base64url'), signature].join('.');
    },
    'with its key inside': async (id) => {
      const own = await makeKey();
      return assertion(id, own, {}, { jwk: own.jwk });
    },
    'by HS256 with the public key': async (id, key) => {
      const secret = new TextEncoder().encode(await exportSPKI(key.publicKey));
      return new SignJWT(claimsOf(id)).setProtectedHeader({ alg: 'HS256', kid: key.kid }).sign(secret);
    },
    'without a signature': async (id, key) => {
      const parts = [{ alg: 'none', kid: key.kid }, claimsOf(id)];
      return `${parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`;
    },
  };

  test.each(Object.entries(bad))('%s is refused', async (_what, make) => {
    const key = await makeKey();
    const client = await clientWith({ jwks: { keys: [key.jwk] } });
    await expectRefused(await make(client.id, key));
    expect((await ask(await assertion(client.id, key))).status).toBe(200);
  });

  test('of one client says nothing for another', async () => {
    const [key, other] = [await makeKey(), await makeKey()];
    const client = await clientWith({ jwks: { keys: [key.jwk] } });
    const stranger = await clientWith({ jwks: { keys: [other.jwk] } });
    await expectRefused(await assertion(client.id, other));
    await expectRefused(await assertion(client.id, key, { sub: stranger.id }));
    const { status } = await post(`${server.issuer}/token`, undefined, {
      grant_type: 'client_credentials',
      client_id: stranger.id,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: await assertion(client.id, key),
    });
    expect(status).toBe(400);
  });

  test('by another algorithm than the client is registered for is refused', async () => {
    const [rsa, ec] = [await makeKey('PS256'), await makeKey('ES256')];
    const jwks = { keys: [{ ...rsa.jwk, alg: undefined } as PublicJwk, ec.jwk] };
    const client = await clientWith({ jwks, token_endpoint_auth_signing_alg: 'PS256' });
    expect((await ask(await assertion(client.id, rsa))).status).toBe(200);
    await expectRefused(await assertion(client.id, ec));
    const privateKey = await importJWK(await exportJWK(rsa.privateKey), 'RS256');
    await expectRefused(
      await assertion(client.id, { ...rsa, privateKey: privateKey as KeyPair['privateKey'], alg: 'RS256' }),
    );
  });

  test('is good once, of many that come at once to two nodes', async () => {
    const key = await makeKey();
    const client = await clientWith({ jwks: { keys: [key.jwk] } });
    await until(
      'the other node knows the client',
      async () => (await ask(await assertion(client.id, key), second.address)).status === 200,
      SEEN_WITHIN_MS,
    );
    const one = await assertion(client.id, key);
    const nodes = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? server.address : second.address));
    const answers = await Promise.all(nodes.map((node) => ask(one, node)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const node of [server.address, second.address]) await expectRefused(one, node);
    // Whoever else uses the same jti is another client.
    const otherKey = await makeKey();
    const other = await clientWith({ jwks: { keys: [otherKey.jwk] } });
    const jti = unique('jti');
    expect((await ask(await assertion(client.id, key, { jti }))).status).toBe(200);
    expect((await ask(await assertion(other.id, otherKey, { jti }))).status).toBe(200);
  });
});

describe('keys at a jwks_uri', () => {
  test('are fetched once for many assertions, those at the same time among them', async () => {
    const key = await makeKey();
    const host = await hostOf(serveJson(() => ({ keys: [key.jwk] })));
    const client = await clientWith({ jwks_uri: `${host.url}/jwks` });
    const requestsOfMany = async () => {
      const before = host.requests();
      const asked = await Promise.all(Array.from({ length: 10 }, async () => ask(await assertion(client.id, key))));
      for (const { status } of asked) expect(status).toBe(200);
      return host.requests() - before;
    };
    // A node asks again when it hears that the client was registered, and while it is too busy to be sure what it has heard.
    await until('keys that are known are not asked for', async () => (await requestsOfMany()) === 0);
    const requestsOfThoseAtOnce: number[] = [];
    for (let minute = 0; minute < 5; minute += 1) {
      clockOffsetMs += AFTER_A_MINUTE_MS;
      requestsOfThoseAtOnce.push(await requestsOfMany());
    }
    expect(Math.min(...requestsOfThoseAtOnce)).toBe(1);
  });

  test('follow one another: within a minute a new one is good and one that was taken away is not', async () => {
    const [before, after] = [await makeKey(), await makeKey()];
    let published = [before.jwk];
    const host = await hostOf((request, response) => {
      // Whatever the client says of how long they keep.
      response.setHeader('cache-control', 'max-age=31536000');
      serveJson(() => ({ keys: published }))(request, response);
    });
    const client = await clientWith({ jwks_uri: `${host.url}/jwks` });
    expect((await ask(await assertion(client.id, before))).status).toBe(200);

    published = [after.jwk];
    clockOffsetMs += AFTER_A_MINUTE_MS;
    await expectRefused(await assertion(client.id, before));
    expect((await ask(await assertion(client.id, after))).status).toBe(200);
    expect(host.requests()).toBeGreaterThan(1);
  });

  test('that can’t be had end in invalid_client, and the client is back as soon as they can', async () => {
    const key = await makeKey();
    let isBroken = true;
    const host = await hostOf((request, response) => {
      if (isBroken) response.writeHead(503).end('{}');
      else serveJson(() => ({ keys: [key.jwk] }))(request, response);
    });
    const client = await clientWith({ jwks_uri: `${host.url}/jwks` });
    await expectRefused(await assertion(client.id, key));
    isBroken = false;
    clockOffsetMs += AFTER_A_MINUTE_MS;
    expect((await ask(await assertion(client.id, key))).status).toBe(200);

    const closed = await startKeyHost(() => undefined);
    await closed.close();
    const unreachable = await clientWith({ jwks_uri: `${closed.url}/jwks` });
    await expectRefused(await assertion(unreachable.id, key));
  });

  test('that can’t be had are told of in the log, and bad assertions are not', async () => {
    const key = await makeKey();
    const closed = await startKeyHost(() => undefined);
    await closed.close();
    const garbled = await hostOf((_request, response) => response.end('hunter2 hunter2'));
    const broken = await hostOf((_request, response) => response.writeHead(500).end('{}'));
    const good = await hostOf(serveJson(() => ({ keys: [key.jwk] })));
    const linesOf = (clientId: string) => until('it is logged', () => lines.find((line) => line.clientId === clientId));
    for (const [url, reason] of [
      [closed.url, /^keys of the client: .*ECONNREFUSED/],
      [garbled.url, /^keys of the client: the answer is no JSON$/],
      [broken.url, /^keys of the client: unexpected jwks_uri response status code, expected 200 OK, got 500/],
      ['http://localhost:9', /^keys of the client: /],
    ] as const) {
      const client = await clientWith({ jwks_uri: `${url}/jwks` });
      await expectRefused(await assertion(client.id, key));
      expect(await linesOf(client.id)).toMatchObject({ level: 30, status: 401, reason: expect.stringMatching(reason) });
    }
    const client = await clientWith({ jwks_uri: `${good.url}/jwks` });
    await expectRefused(await assertion(client.id, await makeKey()));
    expect(await linesOf(client.id)).not.toHaveProperty('reason');
  });

  test('are waited for no longer than a few seconds, and nobody else waits', async () => {
    const key = await makeKey();
    const silent = await hostOf(() => undefined);
    const dripping = await hostOf((_request, response) => {
      response.setHeader('content-type', 'application/json');
      response.write('{"keys":[');
    });
    const waiting = await Promise.all([silent, dripping].map(({ url }) => clientWith({ jwks_uri: `${url}/jwks` })));
    const healthy = await clientWith({ jwks: { keys: [key.jwk] } });
    const startedAt = performance.now();
    let hasEnded = false;
    const refused = Promise.all(waiting.map(async ({ id }) => expectRefused(await assertion(id, key)))).then(() => {
      hasEnded = true;
    });
    await until('both are asked for keys', () => silent.requests() > 0 && dripping.requests() > 0);
    expect((await ask(await assertion(healthy.id, key))).status).toBe(200);
    expect(hasEnded).toBe(false);
    await refused;
    expect(performance.now() - startedAt).toBeLessThan(PATIENCE_MS);
  });

  test('are not looked for where a redirect leads', async () => {
    const key = await makeKey();
    const target = await hostOf(serveJson(() => ({ keys: [key.jwk] })));
    const host = await hostOf((_request, response) => {
      response.writeHead(307, { location: `${target.url}/jwks` }).end();
    });
    const client = await clientWith({ jwks_uri: `${host.url}/jwks` });
    await expectRefused(await assertion(client.id, key));
    expect(host.requests()).toBe(1);
    expect(target.connections()).toBe(0);
  });

  const key = makeKey();
  const answers: Record<string, (jwk: PublicJwk) => unknown> = {
    'of more than 64 KiB': (jwk) => ({ keys: [jwk], padding: 'x'.repeat(65_536) }),
    'that are no JSON object': () => 'keys',
    'that are no list': (jwk) => ({ keys: jwk }),
    'with a symmetric one': (jwk) => ({ keys: [{ kty: 'oct', k: 'c2VjcmV0', kid: jwk.kid }] }),
  };
  test.each(Object.entries(answers))('%s are refused', async (_what, answer) => {
    const { jwk, ...pair } = await key;
    const host = await hostOf(serveJson(() => answer(jwk)));
    const client = await clientWith({ jwks_uri: `${host.url}/jwks` });
    await expectRefused(await assertion(client.id, pair));
    expect(host.requests()).toBe(1);
  });

  test('lie at public addresses in production, and no other is connected to', async () => {
    const production = await startTestServer({
      node: server,
      environment: {
        NODE_ENV: 'production',
        ISSUER: 'https://id.example.com',
        ARGON2_MEMORY_KIB: '19456',
        TRUST_PROXY: '127.0.0.1',
      },
    });
    try {
      const pair = await makeKey();
      const host = await hostOf(serveJson(() => ({ keys: [pair.jwk] })));
      const uris = ['https://localhost', 'https://127.0.0.1', 'http://localhost', 'http://127.0.0.1', 'https://[::1]'];
      for (const uri of uris) {
        const client = await clientWith({ jwks_uri: `${uri}:${host.port}/jwks` });
        const signed = await assertion(client.id, pair, { aud: 'https://id.example.com' });
        const response = await fetch(`${production.address}/token`, {
          method: 'POST',
          headers: { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' },
          body: new URLSearchParams({
            grant_type: 'client_credentials',
            client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
            client_assertion: signed,
          }),
        });
        expect({ uri, status: response.status }).toEqual({ uri, status: 401 });
        expect(await response.json()).toMatchObject({ error: 'invalid_client' });
      }
      expect(host.connections()).toBe(0);
      const metadata = {
        client_id: unique('client'),
        grant_types: ['client_credentials'],
        token_endpoint_auth_method: 'private_key_jwt' as const,
        jwks_uri: `${host.url}/jwks`,
      };
      expect(await production.domains.clients.create({ metadata })).toMatchObject({
        ok: false,
        reason: expect.stringMatching(/^jwks_uri: wants https in production/),
      });
      expect(await server.domains.clients.create({ metadata })).toMatchObject({ ok: true });
    } finally {
      await production.close();
    }
  });
});
