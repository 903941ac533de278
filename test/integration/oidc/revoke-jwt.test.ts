import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader, importJWK, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import {
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
  unique,
} from '../../harness/factories.ts';
import { BURIAL, whileWritesFail } from '../../harness/failing-writes.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { introspect, isActive, post, refresh, revoke, serviceToken, userinfo } from '../../harness/token-requests.ts';

const FORMATS = ['opaque', 'jwt'] as const;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** An API, a client of it that may do everything, and one that its tokens may be introspected by. */
async function setUp(tokenFormat: (typeof FORMATS)[number], authMethod = 'client_secret_basic') {
  const guard = await createTestClient(server.domains);
  const api = await createTestApi(server.domains, { tokenFormat, introspectionClientIds: [guard.id] });
  const scope = api.scopes[0]?.scope ?? '';
  const grants = ['authorization_code', 'refresh_token', ...(authMethod === 'none' ? [] : ['client_credentials'])];
  const client = await createTestClient(server.domains, {
    metadata: {
      scope: `openid offline_access ${scope}`,
      grant_types: grants,
      token_endpoint_auth_method: authMethod as 'none',
    },
  });
  return { guard, api, scope, client };
}

type Setup = Awaited<ReturnType<typeof setUp>>;

/** A person's token for the API, one for userinfo and a refresh token, all of one grant. */
async function signIn({ api, scope, client }: Setup, person?: Awaited<ReturnType<typeof createTestAccount>>) {
  const who = person ?? (await createTestAccount(server.domains));
  const tokens = await signInForTokens(server.issuer, client, who, {
    parameters: { scope: `openid offline_access ${scope}`, resource: api.identifier, prompt: 'consent' },
  });
  const { body } = await refresh(server.issuer, client, tokens.refresh_token, { resource: api.identifier });
  return {
    person: who,
    forUserinfo: tokens.access_token,
    forApi: String(body.access_token),
    refreshToken: String(body.refresh_token ?? tokens.refresh_token),
  };
}

const clientToken = ({ client, scope }: Setup) => serviceToken(server.issuer, client, { scope });

/** All of an answer that a client could tell formats apart by. */
async function answerOf(caller: Pick<TestClient, 'id' | 'secret'>, token: string) {
  const { status, body, headers } = await revoke(server.issuer, caller, token);
  const names = ['content-type', 'content-length', 'cache-control', 'pragma'];
  return { status, body, headers: Object.fromEntries(names.map((name) => [name, headers.get(name)])) };
}

async function eventsOf(client: TestClient) {
  const events = await server.domains.audit.tail({ limit: 200, types: ['token.revoked', 'grant.revoked'] });
  return events.filter(({ clientId }) => clientId === client.id);
}

describe.each(FORMATS)('an access token in %s format is revoked by its client', (format) => {
  test('with all of its grant, where it is a person’s, and with nothing else', async () => {
    const setup = await setUp(format);
    const { person, forUserinfo, forApi, refreshToken } = await signIn(setup);
    const [elsewhere, somebodyElses, own] = [
      await signIn(setup, person),
      await signIn(setup),
      await clientToken(setup),
    ];
    expect(await revoke(server.issuer, setup.client, forApi)).toMatchObject({ status: 200, body: {} });
    for (const token of [forApi, forUserinfo, refreshToken]) {
      expect(await isActive(server.issuer, setup.client, token)).toBe(false);
    }
    expect(await isActive(server.issuer, setup.guard, forApi)).toBe(false);
    expect((await userinfo(server.issuer, forUserinfo)).status).toBe(401);
    const { body } = await refresh(server.issuer, setup.client, refreshToken);
    expect(body.error).toBe('invalid_grant');
    for (const token of [elsewhere.forApi, elsewhere.refreshToken, somebodyElses.forApi, own]) {
      expect(await isActive(server.issuer, setup.client, token)).toBe(true);
    }
  });

  test('alone, where it is the client’s own', async () => {
    const setup = await setUp(format);
    const [token, other, { forApi }] = [await clientToken(setup), await clientToken(setup), await signIn(setup)];
    expect(await revoke(server.issuer, setup.client, token)).toMatchObject({ status: 200, body: {} });
    for (const caller of [setup.client, setup.guard]) {
      expect(await isActive(server.issuer, caller, token)).toBe(false);
      expect(await isActive(server.issuer, caller, other)).toBe(true);
      expect(await isActive(server.issuer, caller, forApi)).toBe(true);
    }
    expect(await isActive(server.issuer, setup.client, await clientToken(setup))).toBe(true);
  });

  test('where it is a public client, without a secret', async () => {
    const setup = await setUp(format, 'none');
    const { forApi, refreshToken } = await signIn(setup);
    expect((await revoke(server.issuer, setup.client, forApi)).status).toBe(200);
    expect(await isActive(server.issuer, setup.guard, forApi)).toBe(false);
    expect((await refresh(server.issuer, setup.client, refreshToken)).body.error).toBe('invalid_grant');
  });

  test('whatever the hint says', async () => {
    const setup = await setUp(format);
    for (const token_type_hint of ['refresh_token', 'access_token', 'spaghetti']) {
      const token = await clientToken(setup);
      expect((await post(`${server.issuer}/revoke`, setup.client, { token, token_type_hint })).status).toBe(200);
      expect(await isActive(server.issuer, setup.guard, token)).toBe(false);
    }
  });

  test('once: to do it again changes and records nothing, and is no error', async () => {
    const setup = await setUp(format);
    const token = await clientToken(setup);
    const { forApi } = await signIn(setup);
    for (const revoked of [token, forApi]) {
      const first = await answerOf(setup.client, revoked);
      expect(await answerOf(setup.client, revoked)).toEqual(first);
    }
    const types = (await eventsOf(setup.client)).map(({ type }) => type).sort();
    expect(types).toEqual(['grant.revoked', 'token.revoked', 'token.revoked']);
  });

  test('and that is recorded with its parties, without the token', async () => {
    const setup = await setUp(format);
    const { forApi, person } = await signIn(setup);
    const own = await clientToken(setup);
    await revoke(server.issuer, setup.client, forApi);
    await revoke(server.issuer, setup.client, own);
    const events = await eventsOf(setup.client);
    const told = events.map(({ type, accountId, details }) => ({ type, accountId, details }));
    expect(told).toEqual(
      expect.arrayContaining([
        { type: 'token.revoked', accountId: person.account.id, details: expect.objectContaining({ kind: 'access' }) },
        { type: 'grant.revoked', accountId: undefined, details: expect.objectContaining({ reason: 'token_revoked' }) },
        {
          type: 'token.revoked',
          accountId: undefined,
          details: expect.objectContaining({ kind: 'client_credentials' }),
        },
      ]),
    );
    for (const token of [forApi, own]) expect(JSON.stringify(events)).not.toContain(token.slice(-20));
  });

  test('by nobody else: not by who may introspect it, not by who does not prove who it is', async () => {
    const setup = await setUp(format);
    const { forApi, refreshToken } = await signIn(setup);
    const own = await clientToken(setup);
    const strangers = [
      setup.guard,
      await createTestClient(server.domains, { mayIntrospectAny: true }),
      await createTestClient(server.domains, { metadata: { token_endpoint_auth_method: 'none' } }),
    ];
    for (const token of [forApi, own]) {
      for (const stranger of strangers) {
        const { status, body } = await revoke(server.issuer, stranger, token);
        expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
      }
      for (const secret of ['wrong', '']) {
        const { status, body } = await revoke(server.issuer, { id: setup.client.id, secret }, token);
        expect({ status, error: body.error }).toEqual({ status: 401, error: 'invalid_client' });
      }
      expect(await isActive(server.issuer, setup.guard, token)).toBe(true);
    }
    expect((await refresh(server.issuer, setup.client, refreshToken)).status).toBe(200);
    expect(await eventsOf(setup.client)).toEqual([]);
  });
});

describe('of what is revoked in JWT format, memory holds', () => {
  const rows = (values: string[]) => server.domains.database.knex('revocations').whereIn('value', values);

  test('nothing of a person’s token, for its grant has ended', async () => {
    const setup = await setUp('jwt');
    const { forApi } = await signIn(setup);
    await revoke(server.issuer, setup.client, forApi);
    expect(await isActive(server.issuer, setup.guard, forApi)).toBe(false);
    expect(await rows([String(decodeJwt(forApi).jti)])).toEqual([]);
  });

  test('no more of one client than is bearable: then all that it has ends, and that is recorded once', async () => {
    const setup = await setUp('jwt');
    const [token, other] = [await clientToken(setup), await clientToken(setup)];
    await server.domains.database.knex.raw(
      `insert into revocations (kind, value, client_id, revision, expires_at, revoked_at)
       select 'token', ? || n, ?, revision + 1, now() + interval '1 hour', now()
       from generate_series(1, 10000) n, (select coalesce(max(revision), 0) as revision from revocations) latest`,
      [setup.client.id, setup.client.id],
    );
    await server.domains.revocations.load();
    expect(await isActive(server.issuer, setup.guard, other)).toBe(true);
    expect((await revoke(server.issuer, setup.client, token)).status).toBe(200);
    for (const dead of [token, other]) expect(await isActive(server.issuer, setup.guard, dead)).toBe(false);
    expect(await isActive(server.issuer, setup.guard, await clientToken(setup))).toBe(true);
    const held = await server.domains.database.knex('revocations').where({ client_id: setup.client.id });
    expect(held).toEqual([]);
    const reasons = (await eventsOf(setup.client)).map(({ type, details }) => [type, details]);
    expect(reasons).toEqual(
      expect.arrayContaining([
        ['grant.revoked', expect.objectContaining({ reason: 'too_many_revocations' })],
        ['token.revoked', expect.anything()],
      ]),
    );
    expect(reasons).toHaveLength(2);
  });
});

test.each(FORMATS)(
  'a revocation of a token in %s format that failed half way is done by the next one',
  async (format) => {
    const setup = await setUp(format);
    const { forApi, forUserinfo, refreshToken } = await signIn(setup);
    await whileWritesFail(server.domains.database.pool, [BURIAL], async () => {
      expect((await revoke(server.issuer, setup.client, forApi)).status).toBe(503);
    });
    expect((await revoke(server.issuer, setup.client, forApi)).status).toBe(200);
    for (const token of [forApi, forUserinfo, refreshToken]) {
      expect(await isActive(server.issuer, setup.client, token)).toBe(false);
    }
    expect((await refresh(server.issuer, setup.client, refreshToken)).body.error).toBe('invalid_grant');
  },
);

test('every answer to a JWT is the one to an opaque token', async () => {
  const answers = await Promise.all(
    FORMATS.map(async (format) => {
      const setup = await setUp(format);
      const stranger = await createTestClient(server.domains);
      const [token, { forApi }] = [await clientToken(setup), await signIn(setup)];
      return {
        toAStranger: await answerOf(stranger, token),
        toAnImpostor: await answerOf({ id: setup.client.id, secret: 'wrong' }, token),
        toItsClient: await answerOf(setup.client, token),
        ofAPerson: await answerOf(setup.client, forApi),
        again: await answerOf(setup.client, token),
        ofADeadOneToAStranger: await answerOf(stranger, token),
      };
    }),
  );
  expect(answers[1]).toEqual(answers[0]);
});

describe('there is nothing to revoke, and no error', () => {
  let setup: Setup;
  let genuine: string;
  let claims: JWTPayload;
  beforeAll(async () => {
    setup = await setUp('jwt');
    genuine = await clientToken(setup);
    claims = decodeJwt(genuine);
  });

  async function signedByUs(payload: JWTPayload, header: { typ?: string } = { typ: 'at+jwt' }): Promise<string> {
    const { alg = '', kid = '' } = decodeProtectedHeader(genuine);
    const { privateJwks } = await server.domains.signingKeys.load();
    const jwk = privateJwks.find((candidate) => candidate.kid === kid);
    if (jwk === undefined) throw new Error('the key that signed is gone');
    return new SignJWT(payload).setProtectedHeader({ alg, kid, ...header }).sign(await importJWK(jwk, alg));
  }

  const forgeries: [string, () => Promise<string>][] = [
    ['an unsigned one', async () => new UnsecuredJWT(claims).encode()],
    ['one whose signature is not ours', async () => `${genuine.slice(0, -6)}AAAAAA`],
    ['one without a signature', async () => genuine.slice(0, genuine.lastIndexOf('.') + 1)],
    ['one of another issuer', () => signedByUs({ ...claims, iss: 'https://elsewhere.example' })],
    ['one of another type', () => signedByUs(claims, { typ: 'JWT' })],
    ['one that has expired', () => signedByUs({ ...claims, exp: Math.floor(Date.now() / 1000) - 60 })],
    ['a header alone', async () => `${genuine.split('.')[0]}..`],
  ];
  test.each(forgeries)('in %s', async (_title, forge) => {
    const stranger = await createTestClient(server.domains);
    for (const caller of [setup.client, stranger]) {
      expect(await revoke(server.issuer, caller, await forge())).toMatchObject({ status: 200, body: {} });
    }
    // Its id is that of the genuine one, which must not die by what a forgery says.
    expect(await isActive(server.issuer, setup.guard, genuine)).toBe(true);
  });

  test('in an ID token', async () => {
    const person = await createTestAccount(server.domains);
    const { id_token = '', access_token } = await signInForTokens(server.issuer, setup.client, person);
    expect((await revoke(server.issuer, setup.client, id_token)).status).toBe(200);
    expect(await isActive(server.issuer, setup.client, access_token)).toBe(true);
  });

  test('in one whose grant has ended', async () => {
    const { forApi, refreshToken } = await signIn(setup);
    await revoke(server.issuer, setup.client, refreshToken);
    expect((await revoke(server.issuer, await createTestClient(server.domains), forApi)).status).toBe(200);
  });

  test('while one that expires in a far future is revoked like any other', async () => {
    const far = await signedByUs({ ...claims, jti: unique('jti'), exp: 100_000_000_000_000 });
    expect(await isActive(server.issuer, setup.guard, far)).toBe(true);
    expect((await revoke(server.issuer, setup.client, far)).status).toBe(200);
    expect(await isActive(server.issuer, setup.guard, far)).toBe(false);
  });
});

test.each(FORMATS)(
  'a caller that would rather have a page gets the same verdict on a token in %s format',
  async (format) => {
    const setup = await setUp(format);
    const token = await clientToken(setup);
    const ask = async (path: string) => {
      const response = await fetch(`${server.issuer}${path}`, {
        method: 'POST',
        headers: {
          accept: 'text/html',
          authorization: `Basic ${Buffer.from(`${setup.client.id}:${setup.client.secret}`).toString('base64')}`,
        },
        body: new URLSearchParams({ token }),
      });
      const [type] = (response.headers.get('content-type') ?? '').split(';');
      return { status: response.status, type, text: await response.text() };
    };
    const isActiveIn = ({ text }: { text: string }) => (JSON.parse(text) as { active: boolean }).active;
    const before = await ask('/introspect');
    expect(before).toMatchObject({ status: 200, type: 'application/json' });
    expect(isActiveIn(before)).toBe(true);
    expect(await ask('/revoke')).toEqual({ status: 200, type: 'text/plain', text: '' });
    expect(isActiveIn(await ask('/introspect'))).toBe(false);
  },
);

test('what a JWT is ended by is our own affair: introspection shows neither its grant nor its revision', async () => {
  const setup = await setUp('jwt');
  await revoke(server.issuer, setup.client, await clientToken(setup));
  const { forApi } = await signIn(setup);
  expect(decodeJwt(forApi)).toMatchObject({ grant_id: expect.any(String), rev: expect.any(Number) });
  const { body } = await introspect(server.issuer, setup.guard, forApi);
  expect(body.active).toBe(true);
  for (const claim of ['grant_id', 'rev']) expect(body).not.toHaveProperty(claim);
});
