import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  unique,
} from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Two APIs that both have `read` and `write`: a client may read at one and write at the other. */
async function reader() {
  const [read, write] = [unique('read'), unique('write')];
  const [one, other] = [
    await createTestApi(server.domains, { tokenFormat: 'jwt', scopes: [read, write] }),
    await createTestApi(server.domains, { tokenFormat: 'jwt', scopes: [read, write] }),
  ].map(({ identifier }) => identifier) as [string, string];
  const registered = { apis: [one, other], apiScopes: { [one]: [read], [other]: [write] } };
  return { read, write, one, other, scope: `${read} ${write}`, registered };
}

describe('a scope that two APIs have, of which a client may have it at one', () => {
  test('is invalid_scope at the other', async () => {
    const { read, write, one, other, scope, registered } = await reader();
    const client = await createServiceClient(server.domains, scope, registered);
    const ask = (resource: string, asked: string) =>
      clientCredentials(server.issuer, client, { resource, scope: asked });
    expect(await ask(one, read)).toMatchObject({ status: 200, body: { scope: read } });
    expect(await ask(other, write)).toMatchObject({ status: 200, body: { scope: write } });
    for (const [resource, asked] of [
      [one, write],
      [other, read],
      [one, scope],
      [other, scope],
    ] as const) {
      expect(await ask(resource, asked)).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
    }
  });

  test('stands for that one where none is named, and both together for neither', async () => {
    const { read, write, one, other, scope, registered } = await reader();
    const client = await createServiceClient(server.domains, scope, registered);
    for (const [asked, aud] of [
      [read, one],
      [write, other],
    ] as const) {
      const { body } = await clientCredentials(server.issuer, client, { scope: asked });
      expect(decodeJwt(String(body.access_token))).toMatchObject({ aud, scope: asked });
    }
    for (const parameters of [{}, { scope }]) {
      const { body } = await clientCredentials(server.issuer, client, parameters as Record<string, string>);
      expect(body.error).toBe('invalid_target');
      for (const api of [one, other]) expect(body.error_description).toContain(api);
    }
  });

  test('is what a token has there, where no scope is asked for', async () => {
    const { write, other, scope, registered } = await reader();
    const client = await createServiceClient(server.domains, scope, registered);
    expect((await clientCredentials(server.issuer, client, { resource: other })).body.scope).toBe(write);
  });

  test('is not given by a person for the other, whatever is asked of them', async () => {
    const { read, write, one, other, scope, registered } = await reader();
    const client = await createTestClient(server.domains, { metadata: { scope: `openid ${scope}` }, ...registered });
    const person = await createTestAccount(server.domains);
    const tokens = await signInForTokens(server.issuer, client, person, {
      parameters: { scope: `openid ${read}`, resource: one },
      redemption: { resource: one },
    });
    expect(decodeJwt(tokens.access_token)).toMatchObject({ aud: one, scope: read });
    const elsewhere = await signInForTokens(server.issuer, client, person, {
      parameters: { scope: `openid ${scope}`, resource: other },
      redemption: { resource: other },
    });
    expect(decodeJwt(elsewhere.access_token)).toMatchObject({ aud: other, scope: write });
  });
});

test('an API that is named without scopes beside one with some has all of the client’s', async () => {
  const { read, one, other, scope } = await reader();
  const client = await createServiceClient(server.domains, scope, { apis: [one, other], apiScopes: { [one]: [read] } });
  expect((await clientCredentials(server.issuer, client, { resource: one })).body.scope).toBe(read);
  expect((await clientCredentials(server.issuer, client, { resource: other })).body.scope).toBe(scope);
});
