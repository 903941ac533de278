import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import type { Api } from '../../../src/clients/index.ts';
import { createTestAccount, createTestApi, createTestClient, REDIRECT_URI } from '../../harness/factories.ts';
import { authorizationRequest, codeFor, signInForTokens } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { introspect, redeem, refresh, userinfo } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const readScope = ({ scopes }: Api) => scopes[0]?.scope ?? '';

/** A client that may have the first scope of each API; `apis` are those that it is registered for. */
function clientOf(all: readonly Api[], apis: readonly Api[] = []) {
  const scope = ['openid', 'email', 'offline_access', ...all.map(readScope)].join(' ');
  return createTestClient(server.domains, {
    metadata: { scope },
    apis: apis.map(({ identifier }) => identifier),
  });
}

async function errorFor(clientId: string, parameters: Record<string, string | undefined>) {
  const { url } = await new Person().open(authorizationRequest(server.issuer, clientId, parameters).url);
  expect(url.startsWith(REDIRECT_URI)).toBe(true);
  return new URL(url).searchParams;
}

describe('a request that names no API', () => {
  test('gets an opaque token for userinfo alone', async () => {
    const api = await createTestApi(server.domains, { tokenFormat: 'jwt' });
    const client = await clientOf([api]);
    const person = await createTestAccount(server.domains);
    const tokens = await signInForTokens(server.issuer, client, person, {
      parameters: { scope: `openid email ${readScope(api)}` },
    });
    expect(tokens.access_token).not.toContain('.');
    expect(tokens.scope).toBe('openid email');
    expect((await userinfo(server.issuer, tokens.access_token)).body.email).toBe(person.login);
    const { body } = await introspect(server.issuer, client, tokens.access_token);
    expect(body).toMatchObject({ active: true, scope: 'openid email' });
    expect(body).not.toHaveProperty('aud');
  });

  test('but scopes of one or several APIs is invalid_target, which names the choices', async () => {
    const shared = 'shared-scope-of-two';
    const [one, other] = [
      await createTestApi(server.domains, { scopes: [shared] }),
      await createTestApi(server.domains, { scopes: [shared] }),
    ];
    const client = await clientOf([one]);
    const answer = await errorFor(client.id, { scope: shared, nonce: undefined });
    expect(answer.get('error')).toBe('invalid_target');
    expect(answer.get('error_description')).toContain(one.identifier);
    expect(answer.get('error_description')).toContain(other.identifier);
  });

  test('but scopes that no API owns together is told of the APIs that own one of them, and of no others', async () => {
    const shared = `shared:${Date.now()}`;
    const [one, other, forbidden, strange] = [
      await createTestApi(server.domains, { scopes: [shared, `${shared}:one`] }),
      await createTestApi(server.domains, { scopes: [shared, `${shared}:other`] }),
      await createTestApi(server.domains, { scopes: [shared] }),
      await createTestApi(server.domains),
    ];
    const metadata = { scope: `${shared} ${shared}:one ${shared}:other ${readScope(strange)}` };
    const apis = [one, other, strange].map(({ identifier }) => identifier);
    const client = await createTestClient(server.domains, { metadata, apis });
    const choices = async (scope: string) => {
      const answer = await errorFor(client.id, { scope, nonce: undefined });
      expect(answer.get('error')).toBe('invalid_target');
      const description = answer.get('error_description') ?? '';
      return [one, other, forbidden, strange].filter(({ identifier }) => description.includes(identifier));
    };
    expect(await choices(`${shared}:one ${shared}:other`)).toEqual([one, other]);
    expect(await choices(`${shared} ${shared}:one`)).toEqual([one]);
    expect(await choices(shared)).toEqual([one, other]);
  });

  test('is for the one API that the client is registered for, once openid does not claim it for userinfo', async () => {
    const [api, other] = [
      await createTestApi(server.domains, { tokenFormat: 'jwt' }),
      await createTestApi(server.domains),
    ];
    const client = await clientOf([api, other], [api]);
    const person = await createTestAccount(server.domains);
    const scope = readScope(api);
    const { code, verifier } = await codeFor(server.issuer, client, person, {
      parameters: { scope, nonce: undefined },
    });
    const { body } = await redeem(server.issuer, client, code, verifier);
    expect(decodeJwt(String(body.access_token))).toMatchObject({ aud: api.identifier, scope });
    expect(body).not.toHaveProperty('id_token');

    const parameters = { scope: `openid ${scope}` };
    const forUserinfo = await signInForTokens(server.issuer, client, person, { parameters });
    expect(forUserinfo.scope).toBe('openid');
    expect((await userinfo(server.issuer, forUserinfo.access_token)).status).toBe(200);
    const forApi = await signInForTokens(server.issuer, client, person, {
      parameters,
      redemption: { resource: api.identifier },
    });
    expect(decodeJwt(forApi.access_token)).toMatchObject({ aud: api.identifier, scope });
  });
});

describe('a request that names an API', () => {
  test('gets a token for it in its format and with its lifetime, and openid’s scopes stay out of it', async () => {
    const jwtApi = await createTestApi(server.domains, { tokenFormat: 'jwt', ttlSeconds: 90 });
    const opaqueApi = await createTestApi(server.domains, { tokenFormat: 'opaque', ttlSeconds: 80 });
    const person = await createTestAccount(server.domains);
    for (const api of [jwtApi, opaqueApi]) {
      const client = await clientOf([api]);
      const scope = readScope(api);
      const tokens = await signInForTokens(server.issuer, client, person, {
        parameters: { scope: `openid email ${scope}`, resource: api.identifier },
        redemption: { resource: api.identifier },
      });
      expect(tokens).toMatchObject({ scope, expires_in: api.ttlSeconds });
      expect(tokens.access_token.includes('.')).toBe(api === jwtApi);
      const { body } = await introspect(server.issuer, client, tokens.access_token);
      expect(body).toMatchObject({ active: true, aud: api.identifier, scope, sub: person.account.id });
    }
  });

  test('that there isn’t, or that the client may not call, is invalid_target', async () => {
    const [api, other] = [await createTestApi(server.domains), await createTestApi(server.domains)];
    const client = await clientOf([api, other], [api]);
    for (const resource of ['urn:nothing', other.identifier, 'no uri', `${api.identifier}#part`]) {
      const answer = await errorFor(client.id, { scope: 'openid', resource });
      expect({ resource, error: answer.get('error') }).toEqual({ resource, error: 'invalid_target' });
    }
  });

  test('gets none of its scopes that the client isn’t registered for', async () => {
    const api = await createTestApi(server.domains);
    const client = await clientOf([api]);
    const [read, write] = api.scopes.map(({ scope }) => scope);
    const answer = await errorFor(client.id, { scope: `openid ${read} ${write}`, resource: api.identifier });
    expect(answer.get('error')).toBe('invalid_scope');
  });

  test('may name several, and each token is for one of them', async () => {
    const apis = [
      await createTestApi(server.domains, { tokenFormat: 'jwt' }),
      await createTestApi(server.domains, { tokenFormat: 'opaque' }),
    ];
    const third = await createTestApi(server.domains);
    const client = await clientOf([...apis, third]);
    const person = await createTestAccount(server.domains);
    const scope = ['openid', 'offline_access', ...apis.map(readScope)].join(' ');
    const request = authorizationRequest(server.issuer, client.id, { scope, prompt: 'consent' });
    const url = new URL(request.url);
    for (const { identifier } of apis) url.searchParams.append('resource', identifier);
    const { login, password } = person;
    const browser = new Person();
    const consent = await browser.submit(await browser.open(url.href), { login, password }, '/sign-in');
    for (const { identifier } of apis) expect(consent.html).toContain(identifier);
    const back = await browser.submit(consent, { decision: 'allow' }, '/consent');
    const code = new URL(back.url).searchParams.get('code') ?? '';
    const first = apis[0]?.identifier ?? '';
    const { body } = await redeem(server.issuer, client, code, request.verifier, { resource: first });
    expect(decodeJwt(String(body.access_token)).aud).toBe(first);
    for (const api of apis) {
      const again = await refresh(server.issuer, client, String(body.refresh_token), { resource: api.identifier });
      expect(again.body.scope).toBe(readScope(api));
      const token = await introspect(server.issuer, client, String(again.body.access_token));
      expect(token.body).toMatchObject({ active: true, aud: api.identifier });
    }
    const foreign = await refresh(server.issuer, client, String(body.refresh_token), { resource: third.identifier });
    expect(foreign).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
  });
});

describe('a code', () => {
  test('gives no token for an API that was not asked for', async () => {
    const [api, other] = [await createTestApi(server.domains), await createTestApi(server.domains)];
    const client = await clientOf([api, other]);
    const person = await createTestAccount(server.domains);
    const { code, verifier } = await codeFor(server.issuer, client, person, {
      parameters: { scope: `openid ${readScope(api)}`, resource: api.identifier },
    });
    const foreign = await redeem(server.issuer, client, code, verifier, { resource: other.identifier });
    expect(foreign).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
  });
});
