import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  REDIRECT_URI,
  type TestClient,
} from '../../harness/factories.ts';
import { authorizationRequest, codeFor, signInForTokens } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, isActive, redeem, refresh, revoke, serviceToken } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

/** Changes are made on the first node, by the operator's side of it, and looked for on the second. */
let first: TestServer;
let second: TestServer;
beforeAll(async () => {
  first = await startTestServer();
  second = await startTestServer({ node: first, environment: { ISSUER: first.issuer } });
});
afterAll(async () => {
  await second.close();
  await first.close();
});

async function service(tokenFormat: 'jwt' | 'opaque' = 'opaque') {
  const api = await createTestApi(first.domains, { tokenFormat, signingAlgorithm: 'ES256' });
  const scope = api.scopes[0]?.scope ?? '';
  const client = await createServiceClient(first.domains, scope);
  // The second node may hear of both a moment later.
  await until(
    'the client is known',
    async () => (await clientCredentials(second.address, client)).status === 200,
    SEEN_WITHIN_MS,
  );
  return { api, scope, client };
}

const canAuthenticate = async (node: TestServer, { id }: TestClient, secret: string) => {
  const { status, body } = await clientCredentials(node.address, { id, secret });
  if (status !== 200) expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
  return status === 200;
};

describe('two nodes are one server', () => {
  test('a code of one is redeemed at the other, and its tokens live, refresh and die on both', async () => {
    const client = await createTestClient(first.domains);
    const person = await createTestAccount(first.domains);
    const { code, verifier } = await codeFor(first.address, client, person, {
      parameters: { scope: 'openid offline_access', prompt: 'consent' },
    });
    const { status, body: tokens } = await redeem(second.address, client, code, verifier);
    expect(status).toBe(200);
    expect(await isActive(first.address, client, String(tokens.access_token))).toBe(true);
    expect((await refresh(first.address, client, String(tokens.refresh_token))).status).toBe(200);
    expect((await revoke(first.address, client, String(tokens.access_token))).status).toBe(200);
    expect(await isActive(second.address, client, String(tokens.access_token))).toBe(false);
    expect((await refresh(second.address, client, String(tokens.refresh_token))).body.error).toBe('invalid_grant');
  });

  test('who is signed in at one is signed in at the other', async () => {
    const client = await createTestClient(first.domains);
    const person = new Person();
    await signInForTokens(first.address, client, await createTestAccount(first.domains), { person });
    const { url } = authorizationRequest(second.address, client.id, { prompt: 'none' });
    const location = (await person.request(url)).headers.get('location') ?? '';
    expect(location.startsWith(REDIRECT_URI)).toBe(true);
    expect(new URL(location).searchParams.get('code')).toBeTruthy();
  });
});

describe('within a second the other node follows', () => {
  test('a client that is created, changed or deleted', async () => {
    const { client } = await service();
    const page = authorizationRequest(second.address, client.id).url;
    const asked = async () => (await new Person().open(page)).html;
    expect(await asked()).toContain('data-error="invalid_redirect_uri"');
    const changed = await first.domains.clients.update(client.id, { metadata: { redirect_uris: [REDIRECT_URI] } });
    expect(changed.ok).toBe(true);
    await until(
      'the redirect URI is known',
      async () => !(await asked()).includes('data-error="invalid_redirect_uri"'),
      SEEN_WITHIN_MS,
    );
    await first.domains.clients.delete(client.id);
    await until(
      'the client is gone',
      async () => !(await canAuthenticate(second, client, client.secret)),
      SEEN_WITHIN_MS,
    );
  });

  test('a secret: two are live at once, the third ends the first', async () => {
    const { client } = await service();
    const rotate = async () => {
      const rotated = await first.domains.clients.rotateSecret(client.id);
      if (!rotated.ok) throw new Error(rotated.reason);
      return rotated.secret;
    };
    const secondSecret = await rotate();
    for (const node of [first, second]) {
      await until('the second secret is good', () => canAuthenticate(node, client, secondSecret), SEEN_WITHIN_MS);
      expect(await canAuthenticate(node, client, client.secret)).toBe(true);
    }
    const thirdSecret = await rotate();
    for (const node of [first, second]) {
      await until('the third secret is good', () => canAuthenticate(node, client, thirdSecret), SEEN_WITHIN_MS);
      expect(await canAuthenticate(node, client, secondSecret)).toBe(true);
      expect(await canAuthenticate(node, client, client.secret)).toBe(false);
    }
  });

  test('an API: its format, its lifetime, its scopes and who may introspect its tokens', async () => {
    const { api, client } = await service();
    const guard = await createTestClient(first.domains);
    await first.domains.apis.update(api.identifier, {
      tokenFormat: 'jwt',
      ttlSeconds: 42,
      introspectionClientIds: [guard.id],
    });
    await until(
      'the lifetime is known',
      async () => (await clientCredentials(second.address, client)).body.expires_in === 42,
      SEEN_WITHIN_MS,
    );
    const token = await serviceToken(second.address, client);
    expect(decodeProtectedHeader(token).alg).toBe('ES256');
    await until('the guard may introspect', () => isActive(second.address, guard, token).then(Boolean), SEEN_WITHIN_MS);
    const added = `${api.scopes[0]?.scope}:more`;
    await first.domains.apis.update(api.identifier, { scopes: [...api.scopes.map(({ scope }) => scope), added] });
    await first.domains.clients.update(client.id, { metadata: { scope: added } });
    await until(
      'the scope is granted',
      async () => (await clientCredentials(second.address, client, { scope: added })).body.scope === added,
      SEEN_WITHIN_MS,
    );
  });

  test('an account that is disabled', async () => {
    const client = await createTestClient(first.domains);
    const person = await createTestAccount(first.domains);
    const tokens = await signInForTokens(first.address, client, person, {
      parameters: { scope: 'openid offline_access', prompt: 'consent' },
    });
    await until(
      'the token is active',
      () => isActive(second.address, client, tokens.access_token).then(Boolean),
      SEEN_WITHIN_MS,
    );
    await first.domains.accounts.disable(person.account.id);
    await until(
      'the token is not active',
      async () => !(await isActive(second.address, client, tokens.access_token)),
      SEEN_WITHIN_MS,
    );
    expect((await refresh(second.address, client, tokens.refresh_token)).body.error).toBe('invalid_grant');
  });

  test('a key: the new one signs, and what the old one signed stays good', async () => {
    const { api, client } = await service('jwt');
    const before = await serviceToken(second.address, client);
    const oldKid = decodeProtectedHeader(before).kid;
    await first.domains.database.knex('signing_keys').where({ kid: oldKid }).update({ state: 'retired' });
    await first.domains.signingKeys.ensure();
    for (const node of [second, first]) {
      await until(
        'the new key signs',
        async () => decodeProtectedHeader(await serviceToken(node.address, client)).kid !== oldKid,
        SEEN_WITHIN_MS,
      );
      const { keys } = (await (await fetch(`${node.address}/jwks`)).json()) as { keys: { alg: string; kid: string }[] };
      expect(keys.filter(({ alg }) => alg === 'ES256')).toHaveLength(2);
      expect(await isActive(node.address, client, before)).toBe(true);
      const keySet = createRemoteJWKSet(new URL(`${node.address}/jwks`));
      for (const token of [before, await serviceToken(node.address, client)]) {
        await jwtVerify(token, keySet, { issuer: first.issuer, audience: api.identifier });
      }
    }
  });
});
