import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createTestApiKey, setUpForKeys, tokenByBearer } from '../../harness/api-keys.ts';
import { makeProofKeyPair, proofOf, requestWithProof } from '../../harness/dpop.ts';
import { createServiceClient, createTestApi } from '../../harness/factories.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { exchange, exchanged, TOKEN_EXCHANGE } from '../../harness/token-exchange.ts';
import { introspect, isActive, serviceToken } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

const API_KEY_TYPE = 'urn:tessera:token-type:api_key';

let first: TestServer;
let second: TestServer;
let issuer: string;
beforeAll(async () => {
  first = await startTestServer();
  ({ issuer } = first);
  second = await startTestServer({ node: first, environment: { ISSUER: issuer } });
});
afterAll(async () => {
  await second.close();
  await first.close();
});

type Format = 'jwt' | 'opaque';
const OWNERS = ['client', 'account'] as const;
const FORMATS = ['opaque', 'jwt'] as const;

/** A key for an API that a gateway guards, and another API behind it with the same scopes; tokens of both have one format. */
async function begin(owner: 'client' | 'account' = 'client', format: Format = 'opaque', input: object = {}) {
  const setup = await setUpForKeys(first.domains, owner, { tokenFormat: format });
  const scope = `${setup.read} ${setup.write}`;
  const grant_types = ['client_credentials', TOKEN_EXCHANGE];
  const gateway = await createServiceClient(first.domains, scope, { metadata: { grant_types } });
  const guarded = { introspectionClientIds: [gateway.id] };
  await first.domains.apis.update(setup.api.identifier, guarded);
  const scopes = [setup.read, setup.write];
  const inner = await createTestApi(first.domains, { tokenFormat: format, scopes, ...guarded });
  const apis = [setup.api.identifier];
  const key = await createTestApiKey(first.domains, { owner: setup.owner, scopes: [setup.read], apis, ...input });
  const resource = inner.identifier;
  const exchangeKey = (parameters: Record<string, string | undefined> = {}, value = key.key) =>
    exchange(issuer, gateway, value, { subject_token_type: API_KEY_TYPE, resource, ...parameters });
  return { ...setup, gateway, inner, key, resource, exchangeKey };
}

describe.each(OWNERS)('an API key of the kind %s', (owner) => {
  test.each(FORMATS)('is exchanged for a token about its owner (%s)', async (format) => {
    const on = await begin(owner, format);
    const { status, body } = await on.exchangeKey();
    expect({ status, scope: body.scope }).toEqual({ status: 200, scope: on.read });
    expect((await introspect(issuer, on.gateway, String(body.access_token))).body).toMatchObject({
      active: true,
      sub: on.ownerId,
      client_id: on.gateway.id,
      act: { sub: on.gateway.id },
      aud: on.resource,
      scope: on.read,
    });
    if (format === 'jwt') expect(decodeJwt(String(body.access_token))).toMatchObject({ sub: on.ownerId });
  });

  test.each(FORMATS)(
    'takes what came of it along when it is revoked or disabled, on every node (%s)',
    async (format) => {
      for (const end of ['revoke', 'disable'] as const) {
        const on = await begin(owner, format);
        const derived = String((await on.exchangeKey()).body.access_token);
        const again = await exchanged(issuer, on.gateway, derived, { resource: on.resource });
        const { body } = await tokenByBearer(issuer, `Bearer ${on.key.key}`);
        const ofToken = await exchanged(issuer, on.gateway, String(body.access_token), { resource: on.resource });
        const tokens = [derived, again, ofToken];
        for (const node of [first, second]) {
          await until('all live', async () => {
            const live = await Promise.all(tokens.map((token) => isActive(node.address, on.gateway, token)));
            return live.every(Boolean);
          });
        }
        await first.domains.apiKeys[end](on.key.apiKey.id);
        for (const node of [first, second]) {
          const limit = node === first ? 0 : SEEN_WITHIN_MS;
          const isDead = async () => {
            const live = await Promise.all(tokens.map((token) => isActive(node.address, on.gateway, token)));
            return !live.some(Boolean);
          };
          await until('all is dead', isDead, limit);
        }
        expect((await on.exchangeKey()).body).toEqual({
          error: 'invalid_request',
          error_description: 'subject_token is invalid',
        });
      }
    },
  );

  test('takes what came of it along when its owner goes', async () => {
    const on = await begin(owner);
    const derived = String((await on.exchangeKey()).body.access_token);
    expect(await isActive(issuer, on.gateway, derived)).toBe(true);
    if (on.owner.kind === 'account') await first.domains.accounts.disable(on.ownerId);
    else await first.domains.clients.update(on.ownerId, { metadata: { grant_types: [TOKEN_EXCHANGE] } });
    expect(await isActive(issuer, on.gateway, derived)).toBe(false);
  });
});

test.each(FORMATS)('what came of a key is never worth more than the key is now (%s)', async (format) => {
  const on = await begin('client', format);
  const both = await createTestApiKey(first.domains, {
    owner: on.owner,
    scopes: [on.read, on.write],
    apis: [on.api.identifier],
  });
  const { body } = await tokenByBearer(issuer, `Bearer ${both.key}`);
  const ofToken = await exchanged(issuer, on.gateway, String(body.access_token), { resource: on.resource });
  const reading = String((await on.exchangeKey({ scope: on.read }, both.key)).body.access_token);
  const writing = String((await on.exchangeKey({ scope: on.write }, both.key)).body.access_token);
  const live = () => Promise.all([ofToken, reading, writing].map((token) => isActive(issuer, on.gateway, token)));
  expect(await live()).toEqual([true, true, true]);
  await first.domains.clients.update(on.ownerId, { metadata: { scope: on.read } });
  expect(await live()).toEqual([false, true, false]);
});

test('a key lends no scope that it lacks', async () => {
  const on = await begin();
  expect((await on.exchangeKey({ scope: on.write })).body.error).toBe('invalid_scope');
});

test('a key is exchanged by whoever may introspect it, and by nobody else', async () => {
  const on = await begin();
  const grant_types = ['client_credentials', TOKEN_EXCHANGE];
  const stranger = await createServiceClient(first.domains, on.read, { metadata: { grant_types } });
  const parameters = { subject_token_type: API_KEY_TYPE, resource: on.resource };
  const refused = { error: 'invalid_request', error_description: 'subject_token is invalid' };
  expect((await exchange(issuer, stranger, on.key.key, parameters)).body).toEqual(refused);
  await first.domains.clients.update(stranger.id, { mayIntrospectAny: true });
  expect((await exchange(issuer, stranger, on.key.key, parameters)).status).toBe(200);
});

test('what looks like a key, or is no key, is refused in the same way', async () => {
  const on = await begin();
  const other = await begin();
  const last = on.key.key.slice(-1);
  const values = [
    on.key.key.slice(0, -1),
    `${on.key.key.slice(0, -1)}${last === 'a' ? 'b' : 'a'}`,
    `${on.key.id}_${other.key.secret}`,
    on.key.id,
    await serviceToken(issuer, on.gateway, { resource: on.resource }),
  ];
  for (const value of values) {
    const { status, body } = await on.exchangeKey({}, value);
    expect({ status, body }).toEqual({
      status: 400,
      body: { error: 'invalid_request', error_description: 'subject_token is invalid' },
    });
  }
  // Nor is a key a token.
  const asToken = await on.exchangeKey({ subject_token_type: 'urn:ietf:params:oauth:token-type:access_token' });
  expect(asToken.body.error).toBe('invalid_request');
});

test('an exchange is one use of the key, within its quota; a refused one is none', async () => {
  const on = await begin('client', 'opaque', { quota: { requests: 2, windowSeconds: 3_600 } });
  expect((await on.exchangeKey({ scope: on.write })).body.error).toBe('invalid_scope');
  const proof = { htu: `${issuer}/token` };
  const parameters = { grant_type: TOKEN_EXCHANGE, subject_token: on.key.key, subject_token_type: API_KEY_TYPE };
  for (let refused = 0; refused < 3; refused += 1) {
    const withoutNonce = await proofOf(await makeProofKeyPair(), proof);
    const { body } = await requestWithProof(issuer, on.gateway, withoutNonce, { ...parameters, resource: on.resource });
    expect(body.error).toBe('use_dpop_nonce');
  }
  expect((await on.exchangeKey()).headers.get('ratelimit')).toContain('r=1');
  expect((await on.exchangeKey()).status).toBe(200);
  const { status, body, headers } = await on.exchangeKey();
  expect({ status, error: body.error }).toEqual({ status: 429, error: 'slow_down' });
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  expect(body).not.toHaveProperty('access_token');
});

test('a key with an allow-list is exchanged for who is on it, as the gateway says', async () => {
  const on = await begin('client', 'opaque', { allowedAddresses: ['192.0.2.0/24'] });
  expect((await on.exchangeKey({ ip_address: '192.0.2.7' })).status).toBe(200);
  for (const ip_address of ['198.51.100.7', undefined]) {
    const { body } = await on.exchangeKey({ ip_address });
    expect(body.error).toBe('invalid_request');
    expect(body.error_description).toContain('ip_address');
  }
});

test.each(FORMATS)('a token that a key asks for itself lives no longer than the key (%s)', async (format) => {
  const on = await begin('client', format, { expiresAt: new Date(Date.now() + 90_000) });
  const { status, body } = await tokenByBearer(issuer, `Bearer ${on.key.key}`);
  expect(status).toBe(200);
  expect(body.expires_in).toBeLessThanOrEqual(90);
  const { exp } = (await introspect(issuer, on.gateway, String(body.access_token))).body;
  expect(Number(exp) * 1_000).toBeLessThanOrEqual(Number(on.key.apiKey.expiresAt));
});

test('the audit trail names the key that was exchanged', async () => {
  const on = await begin();
  await on.exchangeKey();
  await first.domains.audit.flush();
  const events = await first.domains.audit.tail({ limit: 50, types: ['token.exchanged'] });
  const own = events.filter(({ clientId }) => clientId === on.gateway.id);
  expect(own).toMatchObject([{ details: { subjectClientId: on.key.id } }]);
});

test('a token lives no longer than the key that it came of', async () => {
  const on = await begin('client', 'jwt', { expiresAt: new Date(Date.now() + 90_000) });
  const { body } = await on.exchangeKey();
  expect(body.expires_in).toBeLessThanOrEqual(90);
});

test('a key has no grant but client credentials: it exchanges nothing itself', async () => {
  const on = await begin();
  const own = await serviceToken(issuer, on.key);
  const { body } = await exchange(issuer, on.key, own, { resource: on.api.identifier });
  expect(body.error_description).toBe('requested grant type is not allowed for this client');
});
