import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestApiKey, type KeySetup, setUpForKeys, type TestApiKey } from '../../harness/api-keys.ts';
import { makeProofKeyPair, proofOf, requestWithProof } from '../../harness/dpop.ts';
import { recordingLogger } from '../../harness/loggers.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, introspect } from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';

const HOUR_MS = 3_600_000;
/** Ten minutes into an hour; nothing moves but what a test moves. */
const START = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - HOUR_MS + 600_000;

const { logger, lines } = recordingLogger();
let server: TestServer;
let now = START;
let setup: KeySetup;
beforeAll(async () => {
  server = await startTestServer({ clock: () => now, logger });
  setup = await setUpForKeys(server.domains);
});
afterAll(() => server.close());

function keyWith(limits: Partial<Parameters<typeof createTestApiKey>[1]>): Promise<TestApiKey> {
  const { owner, read, api } = setup;
  return createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier], ...limits });
}

function fieldsOf({ headers }: { headers: Headers }) {
  return {
    policy: headers.get('ratelimit-policy'),
    limit: headers.get('ratelimit'),
    retryAfter: headers.get('retry-after'),
  };
}

describe('at /token', () => {
  test('a quota is told with each answer, and once it is used up, when it begins anew', async () => {
    const key = await keyWith({ quota: { requests: 2, windowSeconds: 3_600 } });
    const policy = '"quota";q=2;w=3600';
    const first = await clientCredentials(server.issuer, key);
    expect(first.status).toBe(200);
    expect(fieldsOf(first)).toEqual({ policy, limit: '"quota";r=1;t=3000', retryAfter: null });
    expect(fieldsOf(await clientCredentials(server.issuer, key)).limit).toBe('"quota";r=0;t=3000');
    const refused = await clientCredentials(server.issuer, key);
    expect(refused).toMatchObject({ status: 429, body: { error: 'slow_down' } });
    expect(refused.body.error_description).toMatch(/quota/);
    expect(refused.body).not.toHaveProperty('access_token');
    const stored = server.domains.database.knex('artifacts').where({ client_id: key.id });
    expect(await stored.pluck('kind')).toEqual(['ClientCredentials', 'ClientCredentials']);
    expect(fieldsOf(refused)).toEqual({ policy, limit: '"quota";r=0;t=3000', retryAfter: '3000' });
    now += 3_000_000;
    expect((await clientCredentials(server.issuer, key)).status).toBe(200);
  });

  test('of many at once no more are answered than the quota has', async () => {
    const key = await keyWith({ quota: { requests: 5, windowSeconds: 3_600 } });
    const answers = await Promise.all(Array.from({ length: 20 }, () => clientCredentials(server.issuer, key)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(5);
    expect(statuses.filter((status) => status === 429)).toHaveLength(15);
  });

  test('a rate lets as many pass in a second, and the next a moment later', async () => {
    const key = await keyWith({ ratePerSecond: 2 });
    for (let turn = 0; turn < 2; turn += 1) expect((await clientCredentials(server.issuer, key)).status).toBe(200);
    const refused = await clientCredentials(server.issuer, key);
    expect(refused).toMatchObject({ status: 429, body: { error: 'slow_down' } });
    expect(fieldsOf(refused)).toEqual({ policy: '"rate";q=2;w=1', limit: '"rate";r=0;t=1', retryAfter: '1' });
    now += 500;
    expect((await clientCredentials(server.issuer, key)).status).toBe(200);
  });

  test('a key without limits and a service client hear nothing of them', async () => {
    for (const client of [await keyWith({}), setup.service]) {
      const answer = await clientCredentials(server.issuer, client);
      expect(answer.status).toBe(200);
      expect(fieldsOf(answer)).toEqual({ policy: null, limit: null, retryAfter: null });
    }
  });

  test('what is refused for its scope or its API uses nothing up', async () => {
    const key = await keyWith({ quota: { requests: 1, windowSeconds: 3_600 } });
    expect((await clientCredentials(server.issuer, key, { scope: setup.write })).status).toBe(400);
    expect((await clientCredentials(server.issuer, key, { resource: 'urn:made:up' })).status).toBe(400);
    expect((await clientCredentials(server.issuer, key)).status).toBe(200);
  });

  test('nor does what is refused to hand out a nonce (RFC 9449, section 8)', async () => {
    const key = await keyWith({ quota: { requests: 1, windowSeconds: 3_600 } });
    const keys = await makeProofKeyPair();
    const htu = `${server.issuer}/token`;
    const { status, nonce } = await requestWithProof(server.issuer, key, await proofOf(keys, { htu }));
    expect(status).toBe(400);
    const answer = await requestWithProof(server.issuer, key, await proofOf(keys, { htu, nonce }));
    expect(answer).toMatchObject({ status: 200, body: { token_type: 'DPoP' } });
    const refused = await requestWithProof(server.issuer, key, await proofOf(keys, { htu, nonce }));
    expect(refused.status).toBe(429);
  });

  test('a resource that is named twice gets past no limit', async () => {
    const askTwice = async (key: TestApiKey) => {
      const { identifier } = setup.api;
      const body = new URLSearchParams([
        ['grant_type', 'client_credentials'],
        ['scope', setup.read],
        ['resource', identifier],
        ['resource', identifier],
      ]);
      const headers = { authorization: `Bearer ${key.key}` };
      const response = await fetch(`${server.issuer}/token`, { method: 'POST', headers, body });
      return { status: response.status, ...((await response.json()) as { error?: string }) };
    };
    const elsewhere = await keyWith({ allowedAddresses: ['192.0.2.1'] });
    expect(await askTwice(elsewhere)).toMatchObject({ status: 400, error: 'unauthorized_client' });
    const key = await keyWith({ quota: { requests: 1, windowSeconds: 3_600 } });
    expect((await askTwice(key)).status).toBe(200);
    expect(await askTwice(key)).toMatchObject({ status: 429, error: 'slow_down' });
  });

  test.each(['opaque', 'jwt'] as const)('a quota is as good for a token in %s format', async (tokenFormat) => {
    const { owner, read, api } = await setUpForKeys(server.domains, 'account', { tokenFormat });
    const quota = { requests: 1, windowSeconds: 3_600 };
    const key = await createTestApiKey(server.domains, { owner, scopes: [read], apis: [api.identifier], quota });
    expect((await clientCredentials(server.issuer, key)).status).toBe(200);
    expect((await clientCredentials(server.issuer, key)).status).toBe(429);
  });
});

describe('at /introspect', () => {
  test('each active answer is a use, and says what is left', async () => {
    const key = await keyWith({ quota: { requests: 2, windowSeconds: 3_600 } });
    const { body } = await introspect(server.issuer, setup.guard, key.key);
    expect(body).toMatchObject({ active: true, quota: { limit: 2, remaining: 1, window_seconds: 3_600 } });
    expect((await clientCredentials(server.issuer, key)).status).toBe(200);
    const { status, body: refused } = await introspect(server.issuer, setup.guard, key.key);
    expect({ status, refused }).toEqual({ status: 200, refused: { active: false, reason: 'quota_exceeded' } });
  });

  test('a rate that is exceeded is the reason', async () => {
    const key = await keyWith({ ratePerSecond: 1 });
    expect((await introspect(server.issuer, setup.guard, key.key)).body.active).toBe(true);
    const { body } = await introspect(server.issuer, setup.guard, key.key);
    expect(body).toEqual({ active: false, reason: 'rate_exceeded' });
    // Whoever runs the server finds the key, too, and not only who asked.
    const reason = `${key.id}: rate_exceeded`;
    expect(await until('it is logged', () => lines.find((line) => line.reason === reason), 2_000)).toMatchObject({
      clientId: setup.guard.id,
    });
  });

  test('who may not know the key hears no reason, and uses nothing up', async () => {
    const key = await keyWith({ quota: { requests: 1, windowSeconds: 3_600 } });
    const stranger = (await setUpForKeys(server.domains)).guard;
    expect((await introspect(server.issuer, stranger, key.key)).body).toEqual({ active: false });
    expect((await introspect(server.issuer, setup.guard, key.key)).body.active).toBe(true);
    expect((await introspect(server.issuer, stranger, key.key)).body).toEqual({ active: false });
  });

  test('what is used up for keys ends no token that was got before', async () => {
    const key = await keyWith({ quota: { requests: 1, windowSeconds: 3_600 } });
    const { body } = await clientCredentials(server.issuer, key);
    expect((await introspect(server.issuer, setup.guard, String(body.access_token))).body.active).toBe(true);
  });
});
