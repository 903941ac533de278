import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import type { NewApi } from '../../../src/clients/index.ts';
import { createTestApiKey, setUpForKeys } from '../../harness/api-keys.ts';
import { askForCodes, connectDevice, createDeviceClient, DEVICE_CODE_GRANT } from '../../harness/devices.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../../harness/factories.ts';
import { codeFor, signInForTokens } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { createLandscape, exchanged, signInToApp } from '../../harness/token-exchange.ts';
import {
  clientCredentials,
  introspect,
  post,
  redeem,
  refresh,
  serviceToken,
  type Tokens,
  userinfo,
} from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

let server: TestServer;
let elsewhere: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  elsewhere = await startTestServer({ node: server, environment: { ISSUER: server.issuer } });
});
afterAll(async () => {
  await elsewhere.close();
  await server.close();
});

const formats: NewApi['tokenFormat'][] = ['jwt', 'opaque'];

/** A person with roles, an app that signs them in for an API, and the tokens of that. */
async function signedIn(tokenFormat: NewApi['tokenFormat'], roles: string[] = []) {
  const api = await createTestApi(server.domains, { tokenFormat });
  const [read = ''] = api.scopes.map(({ scope }) => scope);
  const client = await createTestClient(server.domains, { metadata: { scope: `openid offline_access ${read}` } });
  const person = await createTestAccount(server.domains);
  if (roles.length > 0) await server.domains.accounts.setRoles(person.account.id, roles);
  const resource = api.identifier;
  const browser = new Person();
  const tokens = await signInForTokens(server.issuer, client, person, {
    person: browser,
    parameters: { scope: `openid offline_access ${read}`, resource, prompt: 'consent' },
    redemption: { resource },
  });
  return { api, client, person, browser, tokens, read };
}

/** What a token says of itself, and what introspection says of it. */
async function saidOf(client: TestClient, token: string) {
  const { body } = await introspect(server.issuer, client, token);
  return { inJwt: token.includes('.') ? decodeJwt(token) : undefined, introspected: body };
}

/** What happens from then on bears another time. */
const afterSecond = (second: number) => until('the clock goes on', () => Math.floor(Date.now() / 1_000) > second);

async function ownToken(roles: string[], tokenFormat: NewApi['tokenFormat']) {
  const api = await createTestApi(server.domains, { tokenFormat });
  const scope = api.scopes[0]?.scope ?? '';
  const client = await createServiceClient(server.domains, scope, { roles });
  return { client, token: await serviceToken(server.issuer, client) };
}

describe('a person’s JWT (RFC 9068)', () => {
  test('has every claim of the profile, how and when they signed in, and no other', async () => {
    const { api, client, person, tokens, read } = await signedIn('jwt', ['admin']);
    expect(decodeProtectedHeader(tokens.access_token)).toEqual({
      alg: 'RS256',
      typ: 'at+jwt',
      kid: expect.any(String),
    });
    const now = Math.floor(Date.now() / 1_000);
    const claims = decodeJwt(tokens.access_token);
    expect(claims).toEqual({
      iss: server.issuer,
      exp: Number(claims.iat) + 600,
      aud: api.identifier,
      sub: person.account.id,
      client_id: client.id,
      iat: expect.any(Number),
      jti: expect.any(String),
      scope: read,
      auth_time: expect.any(Number),
      acr: 'urn:tessera:acr:password',
      amr: ['pwd'],
      roles: ['admin'],
      grant_id: expect.any(String),
    });
    expect(Math.abs(now - Number(claims.auth_time))).toBeLessThan(60);
  });

  test('and its ID token agree on how and when they signed in', async () => {
    const { tokens } = await signedIn('jwt');
    const { auth_time, acr, amr } = decodeJwt(tokens.id_token ?? '');
    expect(decodeJwt(tokens.access_token)).toMatchObject({ auth_time, acr, amr });
  });
});

describe('how and when a person signed in', () => {
  test.each(formats)('stays the same in every %s token of the grant', async (format) => {
    const { client, tokens, api } = await signedIn(format);
    const first = (await saidOf(client, tokens.access_token)).introspected;
    expect(first).toMatchObject({ auth_time: expect.any(Number), acr: 'urn:tessera:acr:password', amr: ['pwd'] });
    const resource = api.identifier;
    await afterSecond(Number(first.iat));
    const { body } = await refresh(server.issuer, client, tokens.refresh_token, { resource });
    const second = (await saidOf(client, (body as Tokens).access_token)).introspected;
    const { auth_time, acr, amr } = first;
    expect(second).toMatchObject({ auth_time, acr, amr });
    expect(second.iat).not.toBe(first.iat);
  });

  test('is of the sign-in, not of the later request that needed none', async () => {
    const { client, person, browser, tokens, read, api } = await signedIn('jwt');
    const before = decodeJwt(tokens.access_token).auth_time;
    await afterSecond(Number(before));
    const parameters = { scope: `openid ${read}`, resource: api.identifier };
    const later = await codeFor(server.issuer, client, person, { person: browser, parameters });
    const { body } = await redeem(server.issuer, client, later.code, later.verifier, { resource: api.identifier });
    expect(decodeJwt((body as Tokens).access_token).auth_time).toBe(before);
  });

  test.each(formats)('is told of a person who connected a device, in a %s token', async (tokenFormat) => {
    const api = await createTestApi(server.domains, { tokenFormat });
    const scope = `openid ${api.scopes[0]?.scope}`;
    const device = await createDeviceClient(server.domains, { metadata: { scope } });
    const person = await createTestAccount(server.domains);
    await server.domains.accounts.setRoles(person.account.id, ['viewer']);
    const resource = api.identifier;
    const { device_code, user_code } = await askForCodes(server.issuer, device, { scope, resource });
    await connectDevice(server.issuer, new Person(), user_code, person);
    const parameters = { grant_type: DEVICE_CODE_GRANT, device_code, resource };
    const { body } = await post(`${server.issuer}/token`, device, parameters);
    const { introspected } = await saidOf(device, String(body.access_token));
    expect(introspected).toMatchObject({
      sub: person.account.id,
      auth_time: expect.any(Number),
      acr: 'urn:tessera:acr:password',
      amr: ['pwd'],
      roles: ['viewer'],
    });
  });

  test('is nothing that a service’s token, or one for userinfo alone, tells', async () => {
    const service = await ownToken([], 'jwt');
    expect(Object.keys(decodeJwt(service.token))).not.toEqual(expect.arrayContaining(['auth_time']));
    const client = await createTestClient(server.domains);
    const { access_token } = await signInForTokens(server.issuer, client, await createTestAccount(server.domains));
    const { body } = await introspect(server.issuer, client, access_token);
    expect(body).toMatchObject({ active: true });
    for (const claim of ['auth_time', 'acr', 'amr']) expect(body).not.toHaveProperty(claim);
  });
});

describe('roles', () => {
  test.each(formats)('of a person are in their %s tokens, by introspection too', async (format) => {
    const { client, tokens } = await signedIn(format, ['admin', 'auditor']);
    const { inJwt, introspected } = await saidOf(client, tokens.access_token);
    expect(introspected).toMatchObject({ active: true, roles: ['admin', 'auditor'] });
    if (format === 'jwt') expect(inJwt).toMatchObject({ roles: ['admin', 'auditor'] });
  });

  test.each(formats)('of a service are in its own %s tokens, by introspection too', async (format) => {
    const { client, token } = await ownToken(['worker'], format);
    const { inJwt, introspected } = await saidOf(client, token);
    expect(introspected).toMatchObject({ active: true, roles: ['worker'] });
    if (format === 'jwt') expect(inJwt).toMatchObject({ roles: ['worker'] });
  });

  test.each(formats)('that nobody has are no member of a %s token', async (format) => {
    const service = await ownToken([], format);
    const { client, tokens } = await signedIn(format);
    for (const said of [await saidOf(service.client, service.token), await saidOf(client, tokens.access_token)]) {
      expect(said.introspected).toMatchObject({ active: true });
      expect(said.introspected).not.toHaveProperty('roles');
      expect(said.inJwt ?? {}).not.toHaveProperty('roles');
    }
  });

  test('of a service are not lent to the people that it signs in', async () => {
    const { client, tokens } = await signedIn('jwt');
    await server.domains.clients.update(client.id, { roles: ['worker'] });
    const { inJwt, introspected } = await saidOf(client, tokens.access_token);
    expect(introspected).toMatchObject({ active: true });
    expect(introspected).not.toHaveProperty('roles');
    expect(inJwt).not.toHaveProperty('roles');
  });

  test.each(formats)('are, where a person’s %s token is introspected, those of now, on every node', async (format) => {
    const { client, person, tokens } = await signedIn(format, ['admin']);
    for (const roles of [['reader'], []]) {
      await server.domains.accounts.setRoles(person.account.id, roles);
      expect((await saidOf(client, tokens.access_token)).introspected.roles ?? []).toEqual(roles);
      const seen = await until(
        'the other node tells the roles of now',
        async () => {
          const { body } = await introspect(elsewhere.address, client, tokens.access_token);
          return JSON.stringify(body.roles ?? []) === JSON.stringify(roles) && body;
        },
        SEEN_WITHIN_MS,
      );
      expect(seen.active).toBe(true);
    }
  });

  test.each(formats)('are, where a service’s %s token is introspected, those of now', async (format) => {
    const { client, token } = await ownToken(['worker'], format);
    await server.domains.clients.update(client.id, { roles: ['foreman'] });
    expect((await saidOf(client, token)).introspected.roles).toEqual(['foreman']);
    await server.domains.clients.update(client.id, { roles: [] });
    expect((await saidOf(client, token)).introspected).not.toHaveProperty('roles');
  });

  test('are in a refreshed JWT as they are when it is made', async () => {
    const { api, client, person, tokens } = await signedIn('jwt', ['admin']);
    await server.domains.accounts.setRoles(person.account.id, ['reader']);
    const { body } = await refresh(server.issuer, client, tokens.refresh_token, { resource: api.identifier });
    expect(decodeJwt((body as Tokens).access_token).roles).toEqual(['reader']);
  });

  const pairs = formats.flatMap((outer) => formats.map((inner) => [outer, inner] as const));
  test.each(pairs)('are left behind where a %s token is exchanged for a %s one', async (outer, inner) => {
    const on = await createLandscape(server.domains, { outer, inner }, { roles: ['gateway'] });
    const { account, token } = await signInToApp(server.issuer, server.domains, on);
    await server.domains.accounts.setRoles(account.id, ['admin']);
    const ofPerson = await exchanged(server.issuer, on.gateway, token, { resource: on.inner.identifier });
    const own = await serviceToken(server.issuer, on.gateway, { resource: on.inner.identifier });
    const ofItself = await exchanged(server.issuer, on.gateway, own, { resource: on.inner.identifier });
    for (const [value, sub] of [
      [ofPerson, account.id],
      [ofItself, on.gateway.id],
    ] as const) {
      const { inJwt, introspected } = await saidOf(on.gateway, value);
      expect(introspected).toMatchObject({ active: true, sub });
      expect(introspected).not.toHaveProperty('roles');
      expect(inJwt ?? {}).not.toHaveProperty('roles');
    }
    expect((await saidOf(on.gateway, own)).introspected.roles).toEqual(['gateway']);
  });

  const owners = formats.flatMap((format) => (['client', 'account'] as const).map((kind) => [format, kind] as const));
  test.each(owners)(
    'are not in a %s token by an API key of a %s, nor in what is said of the key',
    async (tokenFormat, kind) => {
      const { guard, owner, ownerId, service, api } = await setUpForKeys(server.domains, kind, { tokenFormat });
      await server.domains.clients.update(service.id, { roles: ['worker'] });
      if (kind === 'account') await server.domains.accounts.setRoles(ownerId, ['admin']);
      const scopes = api.scopes.map(({ scope }) => scope);
      const key = await createTestApiKey(server.domains, { owner, scopes, apis: [api.identifier] });
      const token = await serviceToken(server.issuer, key);
      for (const value of [token, key.key]) {
        const { body } = await introspect(server.issuer, guard, value);
        expect(body).toMatchObject({ active: true, sub: ownerId });
        expect(body).not.toHaveProperty('roles');
      }
      if (tokenFormat === 'jwt') expect(decodeJwt(token)).not.toHaveProperty('roles');
    },
  );

  test('are told to nobody who may not introspect, and not in ID tokens, userinfo or refresh tokens', async () => {
    const { client, tokens, person } = await signedIn('opaque', ['admin']);
    const stranger = await createServiceClient(server.domains, 'openid');
    expect((await saidOf(stranger, tokens.access_token)).introspected).toEqual({ active: false });
    expect(decodeJwt(tokens.id_token ?? '')).not.toHaveProperty('roles');
    const refreshToken = (await saidOf(client, tokens.refresh_token ?? '')).introspected;
    expect(refreshToken).toMatchObject({ active: true });
    expect(refreshToken).not.toHaveProperty('roles');
    const app = await createTestClient(server.domains);
    const forUserinfo = await signInForTokens(server.issuer, app, person, { parameters: { scope: 'openid profile' } });
    const { body } = await userinfo(server.issuer, forUserinfo.access_token);
    expect(body.sub).toBe(person.account.id);
    expect(body).not.toHaveProperty('roles');
  });

  test('can’t be asked for by a request', async () => {
    const { client, token } = await ownToken([], 'jwt');
    const { body } = await clientCredentials(server.issuer, client, { roles: 'admin' });
    expect(decodeJwt(String(body.access_token))).not.toHaveProperty('roles');
    expect(decodeJwt(token)).not.toHaveProperty('roles');
    const introspection = await post(`${server.issuer}/introspect`, client, { token, roles: 'admin' });
    expect(introspection.body).not.toHaveProperty('roles');
  });
});
