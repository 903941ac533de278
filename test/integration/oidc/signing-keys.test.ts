import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { createServiceClient, createTestAccount, createTestApi, createTestClient } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { introspect, isActive, serviceToken } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

const ALL = { SIGNING_ALGORITHMS: 'RS256,ES256,PS256,EdDSA' };

async function publishedKids({ address }: TestServer): Promise<string[]> {
  const { keys } = (await (await fetch(`${address}/jwks`)).json()) as { keys: { kid: string }[] };
  return keys.map(({ kid }) => kid);
}

async function discover({ address }: TestServer): Promise<Record<string, unknown>> {
  return (await (await fetch(`${address}/.well-known/openid-configuration`)).json()) as Record<string, unknown>;
}

describe('every algorithm that an operator names', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ environment: ALL });
  });
  afterAll(() => server.close());

  test.each(['RS256', 'ES256', 'PS256', 'EdDSA'] as const)('%s signs access tokens and ID tokens', async (alg) => {
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`));
    const api = await createTestApi(server.domains, { tokenFormat: 'jwt', signingAlgorithm: alg });
    const service = await createServiceClient(server.domains, api.scopes[0]?.scope ?? '');
    const token = await serviceToken(server.issuer, service);
    expect((await jwtVerify(token, keys, { typ: 'at+jwt', algorithms: [alg] })).payload.client_id).toBe(service.id);
    expect((await introspect(server.issuer, service, token)).body).toMatchObject({ active: true, aud: api.identifier });

    const app = await createTestClient(server.domains, { metadata: { id_token_signed_response_alg: alg } });
    const person = await createTestAccount(server.domains);
    const { id_token = '' } = await signInForTokens(server.issuer, app, person);
    const { payload } = await jwtVerify(id_token, keys, { algorithms: [alg], audience: app.id });
    expect(payload.sub).toBe(person.account.id);
  });

  test('is advertised, and has a key at /jwks', async () => {
    const { id_token_signing_alg_values_supported: algorithms } = await discover(server);
    expect([...(algorithms as string[])].sort()).toEqual(['ES256', 'EdDSA', 'PS256', 'RS256']);
    expect(await publishedKids(server)).toHaveLength(4);
  });
});

describe('an algorithm', () => {
  let first: TestServer;
  beforeAll(async () => {
    first = await startTestServer();
  });
  afterAll(() => first.close());

  test('that is not offered is refused for an API and for a client, by name', async () => {
    await expect(createTestApi(first.domains, { tokenFormat: 'jwt', signingAlgorithm: 'EdDSA' })).rejects.toThrow(
      'signingAlgorithm: wants one of SIGNING_ALGORITHMS: RS256 or ES256',
    );
    const metadata = { id_token_signed_response_alg: 'EdDSA' };
    await expect(createTestClient(first.domains, { metadata })).rejects.toThrow('id_token_signed_response_alg');
  });

  test('that was added is published first, can not be asked for yet, and signs once its key does', async () => {
    const second = await startTestServer({ node: first, environment: { ...ALL, ISSUER: first.issuer } });
    try {
      await second.domains.signingKeys.advance();
      await until('both publish it', async () => (await publishedKids(first)).length === 4, SEEN_WITHIN_MS);
      expect((await discover(second)).id_token_signing_alg_values_supported).not.toContain('EdDSA');
      const input = { tokenFormat: 'jwt', signingAlgorithm: 'EdDSA' } as const;
      await expect(createTestApi(second.domains, input)).rejects.toThrow('tessera key rotate --alg EdDSA --now');
      const metadata = { id_token_signed_response_alg: 'EdDSA' };
      await expect(createTestClient(second.domains, { metadata })).rejects.toThrow('id_token_signed_response_alg');
      expect(await second.domains.signingKeys.rotate({ algorithm: 'EdDSA', now: true })).toMatchObject({ ok: true });
      const api = await createTestApi(second.domains, input);
      const service = await createServiceClient(second.domains, api.scopes[0]?.scope ?? '');
      const token = await serviceToken(second.address, service);
      expect(decodeProtectedHeader(token).alg).toBe('EdDSA');
      // A node that was started before knows it, too.
      expect(await isActive(first.address, service, token)).toBe(true);
    } finally {
      await second.close();
    }
  });

  test('that is no longer offered goes on for what is registered for it, and then retires', async () => {
    const api = await createTestApi(first.domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
    const service = await createServiceClient(first.domains, api.scopes[0]?.scope ?? '');
    const second = await startTestServer({
      node: first,
      environment: { SIGNING_ALGORITHMS: 'RS256,EdDSA', ISSUER: first.issuer },
    });
    try {
      const states = async () => {
        await second.domains.signingKeys.advance();
        return (await second.domains.signingKeys.list()).map(({ algorithm, state }) => `${algorithm} ${state}`);
      };
      expect(await states()).toContain('ES256 active');
      expect(decodeProtectedHeader(await serviceToken(second.address, service)).alg).toBe('ES256');
      const app = await createTestClient(first.domains, { metadata: { id_token_signed_response_alg: 'ES256' } });
      // What is registered for it stays as it is, and can be changed in other ways.
      expect(await second.domains.apis.update(api.identifier, { ttlSeconds: 60 })).toMatchObject({ ok: true });
      await expect(createTestApi(second.domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' })).rejects.toThrow(
        'SIGNING_ALGORITHMS: RS256 or EdDSA',
      );
      for (const { identifier, signingAlgorithm } of await second.domains.apis.list()) {
        if (signingAlgorithm !== 'ES256') continue;
        const changed = await second.domains.apis.update(identifier, { signingAlgorithm: 'RS256' });
        expect(changed).toMatchObject({ ok: true });
      }
      expect(await states()).toContain('ES256 active');
      await first.domains.clients.delete(app.id);
      expect(await states()).toContain('ES256 retired');
      expect(await states()).not.toContain('ES256 active');
    } finally {
      await second.close();
    }
  });
});

test('a key that is revoked now is gone from /jwks of every node within a second, and another signs', async () => {
  const first = await startTestServer();
  const second = await startTestServer({ node: first, environment: { ISSUER: first.issuer } });
  try {
    const api = await createTestApi(first.domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
    const service = await createServiceClient(first.domains, api.scopes[0]?.scope ?? '');
    const before = await serviceToken(first.address, service);
    const { kid = '' } = decodeProtectedHeader(before);
    await until(
      'the other node knows the API',
      async () => decodeProtectedHeader(await serviceToken(second.address, service)).kid === kid,
      SEEN_WITHIN_MS,
    );
    expect(await first.domains.signingKeys.revoke(kid, { now: true })).toMatchObject({ ok: true });
    for (const node of [first, second]) {
      await until('it is gone', async () => !(await publishedKids(node)).includes(kid), SEEN_WITHIN_MS);
      const token = await serviceToken(node.address, service);
      expect(decodeProtectedHeader(token).kid).not.toBe(kid);
      await jwtVerify(token, createRemoteJWKSet(new URL(`${node.address}/jwks`)), { audience: api.identifier });
      expect(await isActive(node.address, service, before)).toBe(false);
      expect(await isActive(node.address, service, token)).toBe(true);
    }
  } finally {
    await second.close();
    await first.close();
  }
});
