import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import * as oidc from 'openid-client';
import { createServiceClient, createTestApi, unique } from '../../harness/factories.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import {
  ACCESS_TOKEN_TYPE,
  createLandscape,
  exchange,
  exchanged,
  JWT_TYPE,
  type Landscape,
  signInToApp,
  TOKEN_EXCHANGE,
} from '../../harness/token-exchange.ts';
import { introspect, post, serviceToken } from '../../harness/token-requests.ts';

const FORMATS = [
  ['opaque', 'opaque'],
  ['opaque', 'jwt'],
  ['jwt', 'opaque'],
  ['jwt', 'jwt'],
] as const;

let server: TestServer;
let issuer: string;
beforeAll(async () => {
  server = await startTestServer();
  ({ issuer } = server);
});
afterAll(() => server.close());

const landscape = (outer: 'jwt' | 'opaque' = 'opaque', inner = outer, gateway = {}) =>
  createLandscape(server.domains, { outer, inner }, gateway);
const signIn = (on: Landscape, scope?: string) => signInToApp(issuer, server.domains, on, scope);

describe('a person is taken along by a service', () => {
  test.each(FORMATS)('with a token of format %s for one of format %s', async (outer, inner) => {
    const on = await landscape(outer, inner);
    const { account, token } = await signIn(on, on.read);
    const { status, body, headers } = await exchange(issuer, on.gateway, token, { resource: on.inner.identifier });
    expect({ status, body }).toEqual({
      status: 200,
      body: {
        access_token: expect.any(String),
        issued_token_type: ACCESS_TOKEN_TYPE,
        token_type: 'Bearer',
        expires_in: expect.any(Number),
        scope: on.read,
      },
    });
    expect(headers.get('cache-control')).toBe('no-store');
    const said = {
      sub: account.id,
      act: { sub: on.gateway.id },
      client_id: on.gateway.id,
      aud: on.inner.identifier,
      scope: on.read,
      iss: issuer,
    };
    const { body: shown } = await introspect(issuer, on.backend, String(body.access_token));
    const ofJwt = inner === 'jwt' ? { jti: expect.any(String) } : {};
    expect(shown).toEqual({
      ...said,
      ...ofJwt,
      active: true,
      token_type: 'Bearer',
      iat: expect.any(Number),
      exp: expect.any(Number),
    });
    if (inner === 'jwt') {
      expect(decodeProtectedHeader(String(body.access_token)).typ).toBe('at+jwt');
      expect(decodeJwt(String(body.access_token))).toMatchObject(said);
    }
  });

  test('from the person to the gateway to the service to the next, with all who act in their order', async () => {
    const on = await landscape('jwt', 'opaque');
    const { account, token } = await signIn(on);
    const forBackend = await exchanged(issuer, on.gateway, token, { resource: on.inner.identifier });
    const last = await createTestApi(server.domains, { tokenFormat: 'jwt', scopes: [on.read] });
    const forLast = await exchanged(issuer, on.backend, forBackend, { resource: last.identifier });
    expect(decodeJwt(forLast)).toMatchObject({
      sub: account.id,
      client_id: on.backend.id,
      act: { sub: on.backend.id, act: { sub: on.gateway.id } },
      scope: on.read,
    });
    expect((await introspect(issuer, on.backend, forLast)).body).toMatchObject({ active: true, sub: account.id });
  });

  test('and no further than five services', async () => {
    const on = await landscape();
    const { token } = await signIn(on);
    // Its own tokens anybody may exchange again.
    let current = token;
    for (let count = 1; count <= 5; count += 1) {
      current = await exchanged(issuer, on.gateway, current, { resource: on.inner.identifier });
    }
    expect((await exchange(issuer, on.gateway, current, { resource: on.inner.identifier })).body).toEqual({
      error: 'invalid_request',
      error_description: 'subject_token was exchanged too many times',
    });
  });

  test('by a certified client library, from the discovery document alone', async () => {
    const on = await landscape('jwt');
    const { account, token } = await signIn(on);
    const configuration = await oidc.discovery(
      new URL(issuer),
      on.gateway.id,
      on.gateway.secret,
      oidc.ClientSecretBasic(on.gateway.secret),
      { execute: [oidc.allowInsecureRequests] },
    );
    expect(configuration.serverMetadata().grant_types_supported).toContain(TOKEN_EXCHANGE);
    const answer = await oidc.genericGrantRequest(configuration, TOKEN_EXCHANGE, {
      subject_token: token,
      subject_token_type: ACCESS_TOKEN_TYPE,
      audience: on.inner.identifier,
      scope: on.write,
    });
    expect(answer).toMatchObject({ issued_token_type: ACCESS_TOKEN_TYPE, scope: on.write });
    expect(decodeJwt(answer.access_token)).toMatchObject({ sub: account.id, aud: on.inner.identifier });
  });
});

describe('who acts', () => {
  test('is whom the actor token is about: a person who uses the service', async () => {
    const on = await landscape('jwt');
    const { token } = await signIn(on);
    // Somebody of the support, who signed in to what exchanges.
    const support = await createLandscape(server.domains, { outer: 'jwt', inner: 'jwt' });
    const { clients } = server.domains;
    const given = await clients.update(support.app.id, {
      metadata: {
        grant_types: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE],
        scope: `openid ${support.read} ${support.write} ${on.read}`,
      },
      mayIntrospectAny: true,
    });
    expect(given.ok).toBe(true);
    const agent = await signIn(support);
    const result = await exchanged(issuer, support.app, token, {
      resource: on.inner.identifier,
      scope: on.read,
      actor_token: agent.token,
      actor_token_type: JWT_TYPE,
    });
    expect(decodeJwt(result).act).toEqual({ sub: agent.account.id });
  });

  test('is the service, where its own token says so', async () => {
    const on = await landscape();
    const { token } = await signIn(on);
    const own = await serviceToken(issuer, on.gateway, { resource: on.outer.identifier });
    const parameters = { resource: on.inner.identifier, actor_token: own, actor_token_type: ACCESS_TOKEN_TYPE };
    const result = await exchanged(issuer, on.gateway, token, parameters);
    expect((await introspect(issuer, on.backend, result)).body.act).toEqual({ sub: on.gateway.id });
  });

  test("is nobody else: another client's token, a dead one or one that came of an exchange is refused", async () => {
    const on = await landscape();
    const { token } = await signIn(on);
    const ofOther = await serviceToken(issuer, on.backend, { resource: on.outer.identifier });
    const own = await exchanged(issuer, on.gateway, token, { resource: on.inner.identifier });
    const revoked = await serviceToken(issuer, on.gateway, { resource: on.outer.identifier });
    await post(`${issuer}/revoke`, on.gateway, { token: revoked });
    for (const actor_token of [ofOther, own, token, revoked, 'nothing']) {
      const parameters = { resource: on.inner.identifier, actor_token, actor_token_type: ACCESS_TOKEN_TYPE };
      expect((await exchange(issuer, on.gateway, token, parameters)).body).toEqual({
        error: 'invalid_request',
        error_description: 'actor_token is invalid',
      });
    }
  });

  test('is not said by a client that may impersonate, which must not act in its own name unless it may do both', async () => {
    const impersonation = { metadata: { token_exchange_modes: ['impersonation'] as ['impersonation'] } };
    const on = await landscape('jwt', 'jwt', impersonation);
    const { account, token } = await signIn(on);
    const resource = on.inner.identifier;
    const claims = decodeJwt(await exchanged(issuer, on.gateway, token, { resource }));
    expect(claims).toMatchObject({ sub: account.id, client_id: on.gateway.id });
    expect(claims).not.toHaveProperty('act');

    const own = await serviceToken(issuer, on.gateway, { resource: on.outer.identifier });
    const acting = { resource, actor_token: own, actor_token_type: ACCESS_TOKEN_TYPE };
    expect((await exchange(issuer, on.gateway, token, acting)).body).toEqual({
      error: 'invalid_request',
      error_description: expect.stringContaining('impersonation alone'),
    });
    const token_exchange_modes: ('delegation' | 'impersonation')[] = ['delegation', 'impersonation'];
    await server.domains.clients.update(on.gateway.id, { metadata: { token_exchange_modes } });
    expect(decodeJwt(await exchanged(issuer, on.gateway, token, acting)).act).toEqual({ sub: on.gateway.id });
    expect(decodeJwt(await exchanged(issuer, on.gateway, token, { resource }))).not.toHaveProperty('act');
  });

  test('is not forgotten by an impersonation: who acted before still does', async () => {
    const on = await landscape('jwt');
    const { token } = await signIn(on);
    const forBackend = await exchanged(issuer, on.gateway, token, { resource: on.inner.identifier });
    const { clients } = server.domains;
    await clients.update(on.backend.id, { metadata: { token_exchange_modes: ['impersonation'] } });
    const result = await exchanged(issuer, on.backend, forBackend, { resource: on.outer.identifier });
    expect(decodeJwt(result).act).toEqual({ sub: on.gateway.id });
  });
});

describe('a service acts for a service', () => {
  test.each(FORMATS)('with a token of format %s for one of format %s', async (outer, inner) => {
    const on = await landscape(outer, inner);
    const caller = await createServiceClient(server.domains, on.read);
    const token = await serviceToken(issuer, caller, { resource: on.outer.identifier });
    const result = await exchanged(issuer, on.gateway, token, { resource: on.inner.identifier });
    expect((await introspect(issuer, on.backend, result)).body).toMatchObject({
      active: true,
      sub: caller.id,
      client_id: on.gateway.id,
      act: { sub: on.gateway.id },
      scope: on.read,
    });
  });
});

describe('the grant', () => {
  test('is refused to a client that was not given it', async () => {
    const on = await landscape();
    const { token } = await signIn(on);
    expect((await exchange(issuer, on.app, token)).body).toEqual({
      error: 'invalid_request',
      error_description: 'requested grant type is not allowed for this client',
    });
  });

  test('is refused to whoever does not authenticate', async () => {
    const on = await landscape();
    const { token } = await signIn(on);
    expect((await exchange(issuer, { ...on.gateway, secret: 'wrong' }, token)).status).toBe(401);
    expect((await exchange(issuer, { ...on.gateway, secret: '' }, token)).status).toBe(401);
  });

  test('is given to no public client, and modes to none without it', async () => {
    const create = (metadata: object) =>
      server.domains.clients.create({ metadata: { client_id: unique('client'), redirect_uris: [], ...metadata } });
    expect(await create({ grant_types: [TOKEN_EXCHANGE], token_endpoint_auth_method: 'none' })).toMatchObject({
      ok: false,
      field: 'token_endpoint_auth_method',
    });
    const service = { grant_types: ['client_credentials'], token_exchange_modes: ['delegation'] };
    expect(await create(service)).toMatchObject({ ok: false, field: 'token_exchange_modes' });
    const other = { grant_types: [TOKEN_EXCHANGE], token_exchange_modes: ['other'] };
    expect(await create(other)).toMatchObject({ ok: false, field: 'token_exchange_modes' });
    expect(await create({ grant_types: [TOKEN_EXCHANGE] })).toMatchObject({ ok: true });
  });

  test('is written down with who acts for whom', async () => {
    const on = await landscape();
    const { account, token } = await signIn(on);
    await exchanged(issuer, on.gateway, token, { resource: on.inner.identifier });
    await server.domains.audit.flush();
    const events = await server.domains.audit.tail({ limit: 50, types: ['token.exchanged', 'token.issued'] });
    expect(events.filter(({ clientId }) => clientId === on.gateway.id)).toMatchObject([
      {
        type: 'token.exchanged',
        accountId: account.id,
        details: {
          kind: 'delegation',
          subject: account.id,
          subjectClientId: on.app.id,
          actor: on.gateway.id,
          scopes: [on.read, on.write],
          resource: on.inner.identifier,
        },
      },
    ]);
  });
});

describe('the new token has never more than the one before', () => {
  test('in scopes: those that were asked for have to be in both the token and the client', async () => {
    const on = await landscape();
    const { token } = await signIn(on, on.read);
    const resource = on.inner.identifier;
    expect((await exchange(issuer, on.gateway, token, { resource, scope: on.read })).body.scope).toBe(on.read);
    for (const scope of [on.write, `${on.read} ${on.write}`, 'openid', 'unknown']) {
      expect((await exchange(issuer, on.gateway, token, { resource, scope })).body.error).toBe('invalid_scope');
    }
    await server.domains.clients.update(on.gateway.id, { metadata: { scope: on.write } });
    for (const scope of [on.read, undefined]) {
      expect((await exchange(issuer, on.gateway, token, { resource, scope })).body.error).toBe('invalid_scope');
    }
  });

  test('where none is asked for: what token, client and API have in common', async () => {
    const on = await landscape();
    const { token } = await signIn(on);
    const other = await createTestApi(server.domains, { scopes: [on.write, `${on.write}:more`] });
    await server.domains.clients.update(on.gateway.id, {
      metadata: { scope: `${on.read} ${on.write} ${on.write}:more` },
    });
    const { body } = await exchange(issuer, on.gateway, token, { resource: other.identifier });
    expect(body.scope).toBe(on.write);
    const strange = await createTestApi(server.domains);
    expect((await exchange(issuer, on.gateway, token, { resource: strange.identifier })).body.error).toBe(
      'invalid_scope',
    );
  });

  test('in time', async () => {
    const on = await landscape('jwt');
    const { token } = await signIn(on);
    await server.domains.apis.update(on.inner.identifier, { ttlSeconds: 86_400 });
    const longer = await createServiceClient(server.domains, on.read);
    const ofService = await serviceToken(issuer, longer, { resource: on.outer.identifier });
    for (const subject of [token, ofService]) {
      const result = await exchanged(issuer, on.gateway, subject, { resource: on.inner.identifier });
      const left = Number(decodeJwt(subject).exp) - Number(decodeJwt(result).exp);
      expect(left).toBeGreaterThanOrEqual(0);
      expect(left).toBeLessThanOrEqual(1);
    }
    await server.domains.apis.update(on.inner.identifier, { ttlSeconds: 60 });
    expect((await exchange(issuer, on.gateway, token, { resource: on.inner.identifier })).body.expires_in).toBe(60);
  });
});

describe('the API that the token is for', () => {
  test('is named by audience or resource, or by both the same', async () => {
    const on = await landscape('jwt');
    const { token } = await signIn(on);
    const name = on.inner.identifier;
    for (const parameters of [{ audience: name }, { resource: name }, { audience: name, resource: name }]) {
      expect(decodeJwt(await exchanged(issuer, on.gateway, token, parameters)).aud).toBe(name);
    }
    const different = { audience: name, resource: on.outer.identifier };
    expect((await exchange(issuer, on.gateway, token, different)).body.error).toBe('invalid_target');
    for (const unknown of [
      { audience: 'urn:test:unknown' },
      { resource: 'urn:test:unknown' },
      { audience: 'a name' },
    ]) {
      expect((await exchange(issuer, on.gateway, token, unknown)).body.error).toBe('invalid_target');
    }
  });

  test.each(['audience', 'resource'])('is one: %s given twice is no target', async (parameter) => {
    const on = await landscape();
    const { token } = await signIn(on);
    const form = new URLSearchParams({
      grant_type: TOKEN_EXCHANGE,
      subject_token: token,
      subject_token_type: ACCESS_TOKEN_TYPE,
    });
    form.append(parameter, on.inner.identifier);
    form.append(parameter, on.outer.identifier);
    const authorization = `Basic ${Buffer.from(`${on.gateway.id}:${on.gateway.secret}`).toString('base64')}`;
    const response = await fetch(`${issuer}/token`, { method: 'POST', headers: { authorization }, body: form });
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: string }).error).toBe('invalid_target');
  });

  test('is the one that owns the scopes, where none is named; several are told', async () => {
    const on = await landscape('jwt');
    const { token } = await signIn(on);
    const only = await createTestApi(server.domains, { tokenFormat: 'jwt', scopes: [on.write, unique('other')] });
    await server.domains.clients.update(on.gateway.id, { apis: [on.inner.identifier, only.identifier] });
    expect(decodeJwt(await exchanged(issuer, on.gateway, token, { scope: on.read })).aud).toBe(on.inner.identifier);
    const { body } = await exchange(issuer, on.gateway, token, { scope: on.write });
    expect(body.error).toBe('invalid_target');
    expect(body.error_description).toContain(only.identifier);
  });

  test('is one that the client may call', async () => {
    const on = await landscape();
    const { token } = await signIn(on);
    await server.domains.clients.update(on.gateway.id, { apis: [on.outer.identifier] });
    expect((await exchange(issuer, on.gateway, token, { resource: on.inner.identifier })).body.error).toBe(
      'invalid_target',
    );
  });
});

describe('parameters that are not supported are refused, by name', () => {
  test.each([
    [{ requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }, 'requested_token_type'],
    [{ requested_token_type: 'urn:ietf:params:oauth:token-type:id_token' }, 'requested_token_type'],
    [{ subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' }, 'subject_token_type'],
    [{ subject_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }, 'subject_token_type'],
    [{ subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }, 'subject_token_type'],
    [{ subject_token_type: undefined }, 'subject_token_type'],
    [{ subject_token: undefined }, 'subject_token'],
    [{ actor_token: 'a token' }, 'actor_token_type'],
    [{ actor_token_type: ACCESS_TOKEN_TYPE }, 'actor_token'],
    [{ actor_token: 'a token', actor_token_type: 'urn:tessera:token-type:api_key' }, 'actor_token_type'],
  ])('%j', async (parameters, name) => {
    const on = await landscape();
    const { status, body } = await exchange(issuer, on.gateway, 'a token', parameters);
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
    expect(body.error_description).toContain(name);
  });

  test('the type asked for may be named', async () => {
    const on = await landscape();
    const { token } = await signIn(on);
    const parameters = { resource: on.inner.identifier, requested_token_type: ACCESS_TOKEN_TYPE };
    expect((await exchange(issuer, on.gateway, token, parameters)).status).toBe(200);
  });
});
