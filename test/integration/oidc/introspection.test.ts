import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  decodeJwt,
  decodeProtectedHeader,
  generateKeyPair,
  importJWK,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from 'jose';
import { announceChange } from '../../../src/database/index.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  REDIRECT_URI,
  type TestClient,
  unique,
} from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { introspect, isActive, post, serviceToken } from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';

const FORMATS = ['opaque', 'jwt'] as const;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** An API, a web client of it, and a service that its tokens may be introspected by. */
async function apiWithGuard(tokenFormat: (typeof FORMATS)[number]) {
  const guard = await createTestClient(server.domains);
  const api = await createTestApi(server.domains, { tokenFormat, introspectionClientIds: [guard.id] });
  const scope = api.scopes[0]?.scope ?? '';
  const client = await createTestClient(server.domains, {
    metadata: {
      scope: `openid offline_access ${scope}`,
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
      post_logout_redirect_uris: [`${REDIRECT_URI}/bye`],
    },
  });
  return { guard, api, scope, client };
}

type Setup = Awaited<ReturnType<typeof apiWithGuard>>;

/** A person's token for the API. */
async function personToken({ api, scope, client }: Setup, parameters: Record<string, string> = {}) {
  const person = await createTestAccount(server.domains);
  const browser = new Person();
  const tokens = await signInForTokens(server.issuer, client, person, {
    parameters: { scope: `openid ${scope}`, resource: api.identifier, ...parameters },
    redemption: { resource: api.identifier },
    person: browser,
  });
  return { person, browser, tokens };
}

const clientToken = ({ client, scope }: Setup) => serviceToken(server.issuer, client, { scope });

async function signOut(browser: Person) {
  const page = await browser.open(`${server.issuer}/logout`);
  await browser.submit(page, { logout: 'yes' }, '/logout/confirm');
}

describe.each(FORMATS)('who may introspect a token in %s format', (format) => {
  test('its own client, a client named for its API and one that may introspect all; nobody else', async () => {
    const setup = await apiWithGuard(format);
    const auditor = await createTestClient(server.domains, { mayIntrospectAny: true });
    const otherGuard = await createTestClient(server.domains);
    await createTestApi(server.domains, { introspectionClientIds: [otherGuard.id] });
    const { tokens, person } = await personToken(setup);
    const issued = [
      { token: tokens.access_token, sub: person.account.id },
      { token: await clientToken(setup), sub: undefined },
    ];
    for (const { token, sub } of issued) {
      for (const caller of [setup.client, setup.guard, auditor]) {
        const { status, body } = await introspect(server.issuer, caller, token);
        expect(status).toBe(200);
        expect(body).toMatchObject({
          active: true,
          client_id: setup.client.id,
          aud: setup.api.identifier,
          scope: setup.scope,
          iss: server.issuer,
          token_type: 'Bearer',
          exp: expect.any(Number),
          iat: expect.any(Number),
        });
        if (sub !== undefined) expect(body.sub).toBe(sub);
        // What the token hangs on is our own affair.
        expect(body).not.toHaveProperty('grant_id');
      }
      for (const stranger of [otherGuard, await createTestClient(server.domains)]) {
        expect(await introspect(server.issuer, stranger, token)).toMatchObject({
          status: 200,
          body: { active: false },
        });
        expect((await introspect(server.issuer, stranger, token)).body).toEqual({ active: false });
      }
    }
  });

  test('a client that is named later may from then on, and one that is taken off no longer', async () => {
    const setup = await apiWithGuard(format);
    const token = await clientToken(setup);
    const late = await createTestClient(server.domains);
    expect(await isActive(server.issuer, late, token)).toBe(false);
    await server.domains.apis.update(setup.api.identifier, { introspectionClientIds: [late.id] });
    expect(await isActive(server.issuer, late, token)).toBe(true);
    expect(await isActive(server.issuer, setup.guard, token)).toBe(false);
  });
});

describe.each(FORMATS)('a token in %s format is inactive', (format) => {
  test('when its account is disabled, and active again when it is enabled', async () => {
    const setup = await apiWithGuard(format);
    const { tokens, person } = await personToken(setup);
    expect(await isActive(server.issuer, setup.guard, tokens.access_token)).toBe(true);
    await server.domains.accounts.disable(person.account.id);
    expect(await isActive(server.issuer, setup.guard, tokens.access_token)).toBe(false);
    await server.domains.accounts.enable(person.account.id);
    expect(await isActive(server.issuer, setup.guard, tokens.access_token)).toBe(true);
    await server.domains.accounts.delete(person.account.id);
    expect(await isActive(server.issuer, setup.guard, tokens.access_token)).toBe(false);
  });

  test('when its client is deleted', async () => {
    const setup = await apiWithGuard(format);
    const { tokens } = await personToken(setup);
    const own = await clientToken(setup);
    await server.domains.clients.delete(setup.client.id);
    for (const token of [tokens.access_token, own]) {
      expect(await isActive(server.issuer, setup.guard, token)).toBe(false);
    }
  });

  test('when the person signs out, unless it is for use while they are away', async () => {
    const setup = await apiWithGuard(format);
    const bound = await personToken(setup);
    await signOut(bound.browser);
    expect(await isActive(server.issuer, setup.guard, bound.tokens.access_token)).toBe(false);
    const offline = await personToken(setup, {
      scope: `openid offline_access ${setup.scope}`,
      prompt: 'consent',
    });
    await signOut(offline.browser);
    expect(await isActive(server.issuer, setup.guard, offline.tokens.access_token)).toBe(true);
  });

  test('when its refresh token is revoked', async () => {
    const setup = await apiWithGuard(format);
    const { tokens } = await personToken(setup, { scope: `openid offline_access ${setup.scope}`, prompt: 'consent' });
    await post(`${server.issuer}/revoke`, setup.client, { token: tokens.refresh_token });
    expect(await isActive(server.issuer, setup.guard, tokens.access_token)).toBe(false);
  });
});

describe('a refresh token', () => {
  test('introspects for its own client alone', async () => {
    const setup = await apiWithGuard('opaque');
    const { tokens } = await personToken(setup, { scope: `openid offline_access ${setup.scope}`, prompt: 'consent' });
    const { body } = await introspect(server.issuer, setup.client, tokens.refresh_token ?? '');
    expect(body).toMatchObject({ active: true, client_id: setup.client.id });
    expect(body).not.toHaveProperty('token_type');
    const stranger = await createTestClient(server.domains);
    expect((await introspect(server.issuer, stranger, tokens.refresh_token ?? '')).body).toEqual({ active: false });
  });
});

describe('what is not one of our access tokens is inactive and not an error', () => {
  let setup: Setup;
  let genuine: string;
  let claims: JWTPayload;
  let keyId: string;
  let algorithm: string;
  beforeAll(async () => {
    setup = await apiWithGuard('jwt');
    ({ access_token: genuine } = (await personToken(setup)).tokens);
    claims = decodeJwt(genuine);
    const header = decodeProtectedHeader(genuine);
    keyId = header.kid ?? '';
    algorithm = header.alg ?? '';
  });

  /** A JWT by the very key that signs ours. */
  async function signedByUs(payload: JWTPayload, header: { typ?: string } = { typ: 'at+jwt' }): Promise<string> {
    const { privateJwks } = await server.domains.signingKeys.load();
    const jwk = privateJwks.find(({ kid }) => kid === keyId);
    if (jwk === undefined) throw new Error('the key that signed is gone');
    return new SignJWT(payload)
      .setProtectedHeader({ alg: algorithm, kid: keyId, ...header })
      .sign(await importJWK(jwk, algorithm));
  }

  async function expectInactive(token: string) {
    for (const caller of [setup.client, setup.guard]) {
      const { status, body, headers } = await introspect(server.issuer, caller, token);
      expect({ status, body }).toEqual({ status: 200, body: { active: false } });
      expect(headers.get('content-type')).toMatch(/^application\/json/);
      expect(headers.get('cache-control')).toContain('no-store');
    }
  }

  test('while the genuine one, and a copy that is signed in the same way, are active', async () => {
    expect(await isActive(server.issuer, setup.guard, genuine)).toBe(true);
    expect(await isActive(server.issuer, setup.guard, await signedByUs(claims))).toBe(true);
  });

  test.each([
    ['nonsense', 'nonsense'],
    ['one that looks opaque', 'a'.repeat(43)],
    ['one dot', 'a.b'],
    ['two dots', 'a.b.c'],
    ['dots alone', '..'],
    ['five parts', 'a.b.c.d.e'],
    ['no ASCII', 'žluťoučký kůň'],
    ['a NUL', '\u0000'],
    ['a very long one', 'x'.repeat(20_000)],
    ['JSON', '{"active":true}'],
  ])('%s', (_title, token) => expectInactive(token));

  test('an unsigned JWT', () => expectInactive(new UnsecuredJWT(claims).encode()));

  test('one whose signature or content was changed', async () => {
    const [header = '', payload = '', signature = ''] = genuine.split('.');
    const raised = Buffer.from(JSON.stringify({ ...claims, scope: 'admin' })).toString('base64url');
    await expectInactive(`${header}.${raised}.${signature}`);
    await expectInactive(`${header}.${payload}.${signature.slice(0, -6)}AAAAAA`);
    await expectInactive(`${header}.${payload}.`);
  });

  test('one by another key, whatever key it names', async () => {
    const { privateKey } = await generateKeyPair(algorithm);
    for (const kid of [keyId, 'another']) {
      await expectInactive(
        await new SignJWT(claims).setProtectedHeader({ alg: algorithm, kid, typ: 'at+jwt' }).sign(privateKey),
      );
    }
  });

  test('one by our key but of another issuer, of another type, or past its time', async () => {
    const hourAgo = Math.floor(Date.now() / 1000) - 3_600;
    await expectInactive(await signedByUs({ ...claims, iss: 'https://elsewhere.example' }));
    await expectInactive(await signedByUs(claims, { typ: 'JWT' }));
    await expectInactive(await signedByUs(claims, {}));
    await expectInactive(await signedByUs({ ...claims, iat: hourAgo - 600, exp: hourAgo }));
  });

  test('one that lacks what every one of ours has', async () => {
    for (const claim of ['exp', 'iat', 'jti', 'client_id', 'aud', 'sub', 'iss']) {
      const { [claim]: _left, ...rest } = claims;
      await expectInactive(await signedByUs(rest));
    }
  });

  test('one of a grant that there isn’t, or that is another client’s', async () => {
    const other = await apiWithGuard('jwt');
    const { tokens } = await personToken(other);
    await expectInactive(await signedByUs({ ...claims, grant_id: unique('grant') }));
    await expectInactive(await signedByUs({ ...claims, grant_id: decodeJwt(tokens.access_token).grant_id }));
  });

  test('an ID token, a code and a session', async () => {
    const { tokens, browser } = await personToken(setup);
    await expectInactive(tokens.id_token ?? '');
    for (const value of Object.values(browser.cookies())) await expectInactive(value);
  });

  test('no token at all is an error of the request', async () => {
    const { status, body } = await post(`${server.issuer}/introspect`, setup.client, {});
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
  });

  test('a token_type_hint that is wrong or unknown changes nothing', async () => {
    const opaque = await personToken(await apiWithGuard('opaque'));
    expect(opaque.tokens.access_token).toBeTruthy();
    for (const token_type_hint of ['refresh_token', 'access_token', 'spaghetti']) {
      const { body } = await post(`${server.issuer}/introspect`, setup.client, { token: genuine, token_type_hint });
      expect(body.active).toBe(true);
    }
  });
});

describe('a caller', () => {
  test('that does not prove who it is learns nothing of any kind of token: 401', async () => {
    const [opaque, jwt] = [await apiWithGuard('opaque'), await apiWithGuard('jwt')];
    const { tokens } = await personToken(opaque, { scope: `openid offline_access ${opaque.scope}`, prompt: 'consent' });
    const issued = [
      tokens.access_token,
      tokens.refresh_token,
      (await personToken(jwt)).tokens.access_token,
      'a.b.c',
      'x',
    ];
    const impostors: Pick<TestClient, 'id' | 'secret'>[] = [opaque, jwt].flatMap(({ client, guard }) => [
      { id: client.id, secret: 'wrong' },
      { id: guard.id, secret: 'wrong' },
      { id: guard.id, secret: '' },
    ]);
    for (const token of issued) {
      for (const impostor of impostors) {
        const { status, body } = await introspect(server.issuer, impostor, token ?? '');
        expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
        expect(body).not.toHaveProperty('active');
      }
    }
  });

  test('must say who it is', async () => {
    const { status, body } = await post(`${server.issuer}/introspect`, undefined, { token: 'x' });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
  });

  test('that is a public client learns of its own tokens alone', async () => {
    const spa = await createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } });
    const person = await createTestAccount(server.domains);
    const tokens = await signInForTokens(server.issuer, spa, person);
    expect(await isActive(server.issuer, spa, tokens.access_token)).toBe(true);
    const { service, token } = await ownService();
    expect(await isActive(server.issuer, service, token)).toBe(true);
    expect(await isActive(server.issuer, spa, token)).toBe(false);
  });

  test.each(FORMATS)(
    'that does not authenticate learns no more, even with rights in the registry: %s',
    async (format) => {
      const setup = await apiWithGuard(format);
      const auditor = await createTestClient(server.domains, { mayIntrospectAny: true });
      const token = await clientToken(setup);
      const callers = [setup.guard, auditor];
      for (const { id, secret } of callers) {
        expect(await isActive(server.issuer, { id, secret }, token)).toBe(true);
        // Past the registry, which refuses it.
        const { knex } = server.domains.database;
        await knex.raw(
          `update clients set metadata = metadata || '{"token_endpoint_auth_method": "none"}' where id = ?`,
          [id],
        );
        await announceChange(knex, 'clients', id);
      }
      await until('both are refused', async () => {
        const answers = await Promise.all(
          callers.map(({ id }) => introspect(server.issuer, { id, secret: '' }, token)),
        );
        return answers.every(({ status, body }) => status === 200 && body.active === false);
      });
    },
  );
});

async function ownService() {
  const api = await createTestApi(server.domains);
  const service = await createServiceClient(server.domains, api.scopes[0]?.scope ?? '');
  return { service, token: await serviceToken(server.issuer, service) };
}
