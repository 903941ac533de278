import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { revoke } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { type RawAnswer, rawRequest } from '../security/raw-http.ts';
import { BAD_JWTS, freshClaims } from './bad-tokens.ts';
import { type Example, type InstalledExample, installExample, type RunningProgram } from './example-program.ts';
import { ADMIN_SCOPE, type ProtectedApi, READ_SCOPE, startProtectedApi } from './protected-api.ts';

/** Downloads, and a Java program that is compiled on a busy machine. */
const INSTALL_LIMIT_MS = 600_000;
const TEST_LIMIT_MS = 120_000;
const METADATA_PATH = '/.well-known/oauth-protected-resource';
/** IANA's registry "OAuth Protected Resource Metadata" (RFC 9728, section 8.1). */
const REGISTERED_RESOURCE_METADATA: ReadonlySet<string> = new Set([
  'resource',
  'authorization_servers',
  'jwks_uri',
  'scopes_supported',
  'bearer_methods_supported',
  'resource_signing_alg_values_supported',
  'resource_name',
  'resource_documentation',
  'resource_policy_uri',
  'resource_tos_uri',
  'tls_client_certificate_bound_access_tokens',
  'authorization_details_types_supported',
  'dpop_signing_alg_values_supported',
  'dpop_bound_access_tokens_required',
  'signed_metadata',
]);
/** Of the first start: the longest that an answer may be held. */
const LONG_CACHE_SECONDS = 30;
/** Of the second start. */
const SHORT_CACHE_SECONDS = 1;
const SMALL_CACHE_SIZE = 2;
/** The patience of a caller: what comes later is an answer to nobody. */
const HANGING_LIMIT_MS = 20_000;
/** What a cache may hold longer than it should, on a busy machine. */
const PATIENCE_MS = 5_000;

/**
 * What every resource server among the examples does, whatever it is written in. Each runs it:
 *
 *     resourceServerContract({ name: 'flask', install: [['python3', '-m', 'venv', '.venv'], …], command: ['.venv/bin/python', 'app.py'] })
 *
 * The program finds in its environment: `PORT`, `ISSUER`, `AUDIENCE` (the identifier of the API that it guards),
 * `INTROSPECTION_CLIENT_ID` and `INTROSPECTION_CLIENT_SECRET` (by HTTP Basic), and these, which have defaults of its own:
 * `INTROSPECTION_CACHE_SECONDS` (10), `INTROSPECTION_CACHE_SIZE` (10000 answers) and `INTROSPECT_JWTS` (false; true: a JWT that
 * has been verified is introspected as well, so that a revoked one is refused). It takes an `ISSUER`
 * of http on this machine, doesn't start with one of http elsewhere, and listens on 127.0.0.1 at least.
 *
 * - `GET /profile` answers any valid token with JSON: `sub` of the token (its client's id where it has none), `client_id` and
 *   `scope`.
 * - `GET /admin` answers one that has the scope or the role (claim `roles`) `admin` with 200, and others with 403 and the
 *   challenge `Bearer error="insufficient_scope"`.
 * - Without a token: 401 and the challenge `Bearer` without an `error` (RFC 6750, section 3.1). A token in the query counts
 *   for nothing. Two Authorization headers are refused by 400 `invalid_request` or 401 `invalid_token`, bad tokens by 401 and
 *   `Bearer error="invalid_token"`.
 * - What has the form of a JWT is verified by the issuer's keys, everything else is introspected: of an API key (`tsk_…`) with
 *   the address that it was sent from, as `ip_address`. Answers, negative ones too, are held for
 *   `INTROSPECTION_CACHE_SECONDS` (1 to 30, else it doesn't start), never beyond the token's `exp`.
 * - Where `AUDIENCE` is an https URL without a path, `GET /.well-known/oauth-protected-resource` describes the API (RFC 9728),
 *   and each challenge names the address of that.
 * - Where the issuer can't be asked, or doesn't answer within seconds, the answer is of the 500s: no verdict.
 */
export function resourceServerContract(example: Example): void {
  describe(`examples/${example.name}`, () => {
    let api: ProtectedApi;
    let installed: InstalledExample;
    let program: RunningProgram;

    beforeAll(async () => {
      [api, installed] = await Promise.all([startProtectedApi(), installExample(example)]);
    }, INSTALL_LIMIT_MS);
    afterAll(async () => {
      await installed?.remove();
      await api?.close();
    }, TEST_LIMIT_MS);

    const start = (settings: Record<string, string>): Promise<RunningProgram> =>
      installed.start({
        ISSUER: api.issuer,
        AUDIENCE: api.audience,
        INTROSPECTION_CLIENT_ID: api.introspectionClient.id,
        INTROSPECTION_CLIENT_SECRET: api.introspectionClient.secret,
        ...settings,
      });
    const ask = (path: string, token: string | undefined) =>
      call(program.address, path, token === undefined ? {} : { authorization: `Bearer ${token}` });
    const profile = (token: string | undefined) => ask('/profile', token);
    const isRefused = async (token: string) => (await profile(token)).status === 401;

    describe('a start', () => {
      // Else whoever is on the way makes the keys and the answers themselves.
      test.each([
        'http://id.example.com',
        'http://localhost.example.com',
        'http://127.0.0.1.example.com',
        'ftp://localhost',
      ])(
        'is refused with an issuer that is not reached by TLS: %s',
        async (issuer) => {
          await expect(start({ ISSUER: issuer })).rejects.toThrow(/ended[\s\S]*ISSUER wants https/);
        },
        TEST_LIMIT_MS,
      );

      test.each(['0', '-1', '31', '1e9', 'nan'])(
        'is refused where a revoked token would be let in for too long: %s seconds',
        async (seconds) => {
          await expect(start({ INTROSPECTION_CACHE_SECONDS: seconds })).rejects.toThrow(
            /ended[\s\S]*INTROSPECTION_CACHE_SECONDS|ended[\s\S]*introspection-cache-time/,
          );
        },
        TEST_LIMIT_MS,
      );
    });

    describe('with an identifier that is a URL', () => {
      const audience = 'https://notes.example.com';
      beforeAll(async () => {
        program = await start({ AUDIENCE: audience });
      }, TEST_LIMIT_MS);
      afterAll(() => program?.stop());

      test('the API is described where RFC 9728, section 3 wants it, by registered members alone', async () => {
        const { status, body } = await call(program.address, METADATA_PATH, {});
        expect({ status, body }).toMatchObject({
          status: 200,
          body: { resource: audience, authorization_servers: [api.issuer], bearer_methods_supported: ['header'] },
        });
        const unknown = Object.keys(body as object).filter((name) => !REGISTERED_RESOURCE_METADATA.has(name));
        expect(unknown).toEqual([]);
      });

      test.each([undefined, 'nobody-ever-issued-this'])(
        'a challenge says where (RFC 9728, section 5.1): token %s',
        async (token) => {
          const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
          const { status, headers: answered } = await rawRequest(program.address, { path: '/profile', headers });
          expect(status).toBe(401);
          const [, url = ''] = /[ ,]resource_metadata="([^"]*)"/.exec(String(answered['www-authenticate'])) ?? [];
          expect(URL.parse(url)?.pathname).toBe(METADATA_PATH);
        },
      );
    });

    describe('by the issuer’s keys and by introspection', () => {
      let jwt: string;
      let opaque: string;
      beforeAll(async () => {
        program = await start({ INTROSPECTION_CACHE_SECONDS: String(LONG_CACHE_SECONDS) });
        jwt = (await api.personTokens('jwt')).access_token;
        opaque = (await api.personTokens('opaque')).access_token;
      }, TEST_LIMIT_MS);
      afterAll(() => program?.stop());

      test.each(['jwt', 'opaque'] as const)(
        'a good token opens /profile, which tells whose it is: %s',
        async (format) => {
          expect(await profile(format === 'jwt' ? jwt : opaque)).toMatchObject({
            status: 200,
            body: { sub: api.accountId, client_id: api.app.id, scope: expect.stringContaining(READ_SCOPE) },
          });
          expect(await profile(await api.serviceToken(format))).toMatchObject({
            status: 200,
            body: { sub: api.service.id, client_id: api.service.id, scope: READ_SCOPE },
          });
        },
      );

      test.each(['jwt', 'opaque'] as const)('/admin wants the scope, and says so: %s', async (format) => {
        const refused = await ask('/admin', await api.serviceToken(format));
        expect(refused).toMatchObject({ status: 403, challenge: { scheme: 'Bearer', error: 'insufficient_scope' } });
        const scope = `${READ_SCOPE} ${ADMIN_SCOPE}`;
        expect((await ask('/admin', await api.serviceToken(format, { scope }))).status).toBe(200);
        expect((await ask('/admin', await api.serviceToken(format, { scope: ADMIN_SCOPE }))).status).toBe(200);
      });

      test('an API key opens /profile, which tells whose it is', async () => {
        for (const isPersons of [false, true]) {
          const { key, clientId, ownerId } = await api.apiKey({ isPersons });
          expect(await profile(key)).toMatchObject({
            status: 200,
            body: { sub: ownerId, client_id: clientId, scope: READ_SCOPE },
          });
        }
      });

      test('/admin wants the scope of an API key, and says so', async () => {
        const refused = await ask('/admin', (await api.apiKey()).key);
        expect(refused).toMatchObject({ status: 403, challenge: { scheme: 'Bearer', error: 'insufficient_scope' } });
        expect((await ask('/admin', (await api.apiKey({ scope: ADMIN_SCOPE })).key)).status).toBe(200);
      });

      test('an API key that is bound to addresses opens it from these alone', async () => {
        const { key: near } = await api.apiKey({ allowedAddresses: ['127.0.0.0/8'] });
        const { key: far } = await api.apiKey({ allowedAddresses: ['192.0.2.0/24'] });
        expect((await profile(near)).status).toBe(200);
        expect((await profile(far)).status).toBe(401);
      });

      test.each(['jwt', 'opaque'] as const)('a role does for /admin what the scope does: %s', async (format) => {
        await api.setRoles(['auditor', 'administrator']);
        expect((await ask('/admin', (await api.personTokens(format)).access_token)).status).toBe(403);
        await api.setRoles(['admin']);
        expect((await ask('/admin', (await api.personTokens(format)).access_token)).status).toBe(200);
        await api.setRoles([]);
        expect((await ask('/admin', (await api.personTokens(format)).access_token)).status).toBe(403);
      });

      test.each(['/profile', '/admin'])('without a token the answer is a bare challenge: %s', async (path) => {
        const { status, challenge } = await ask(path, undefined);
        expect({ status, challenge }).toEqual({ status: 401, challenge: { scheme: 'Bearer' } });
      });

      test('another scheme is no token', async () => {
        const { status, challenge } = await call(program.address, '/profile', { authorization: `Basic ${opaque}` });
        expect({ status, challenge }).toEqual({ status: 401, challenge: { scheme: 'Bearer' } });
      });

      test('the scheme is read in any case (RFC 9110, section 11.1)', async () => {
        const { status } = await call(program.address, '/profile', { authorization: `bearer ${jwt}` });
        expect(status).toBe(200);
      });

      test('a token in the query counts for nothing', async () => {
        for (const token of [jwt, opaque]) {
          const { status, challenge } = await ask(`/profile?access_token=${token}`, undefined);
          expect(status).toBe(401);
          expect(challenge.scheme).toBe('Bearer');
        }
      });

      test('two Authorization headers are refused, good ones too', async () => {
        for (const second of [jwt, 'something-else']) {
          const authorization = [`Bearer ${jwt}`, `Bearer ${second}`];
          const { status, challenge } = await call(program.address, '/profile', { authorization });
          expect([
            { status: 400, error: 'invalid_request' },
            { status: 401, error: 'invalid_token' },
          ]).toContainEqual({ status, error: challenge.error });
        }
      });

      test('a JWT that we made ourselves opens it, so that the refusals below mean something', async () => {
        expect((await profile(await api.signAsServer(freshClaims(jwt)))).status).toBe(200);
      });

      test.each(Object.keys(BAD_JWTS))('a JWT is refused that is %s', async (fault) => {
        const { status, challenge } = await profile(await BAD_JWTS[fault]?.(api, jwt));
        expect({ status, ...challenge }).toMatchObject({ status: 401, scheme: 'Bearer', error: 'invalid_token' });
      });

      test.each<[string, () => string | Promise<string>]>([
        ['unknown', () => 'nobody-ever-issued-this'],
        ['for another API', () => api.serviceToken('opaque', { audience: api.otherAudience })],
        ['bound to a key, without a proof of it', () => api.boundToken('opaque')],
        ['revoked', () => revokedToken('opaque')],
        ['an API key with a wrong secret', async () => `${(await api.apiKey()).key.slice(0, -1)}~`],
        ['an API key for another API', async () => (await api.apiKey({ audience: api.otherAudience })).key],
        ['an API key that was revoked', () => revokedKey()],
        ['a JWT in two parts', () => jwt.split('.').slice(0, 2).join('.')],
        ['a JWT in four parts', () => `${jwt}.AAAA`],
      ])('a token is refused that is %s', async (_fault, make) => {
        const { status, challenge } = await profile(await make());
        expect({ status, ...challenge }).toMatchObject({ status: 401, scheme: 'Bearer', error: 'invalid_token' });
      });

      test('what is no token at all is refused', async () => {
        for (const value of ['Bearer', 'Bearer ', `Bearer ${opaque} ${opaque}`, 'Bearer täst', `Bearer "${opaque}"`]) {
          const { status, challenge } = await call(program.address, '/profile', { authorization: value });
          expect([400, 401]).toContain(status);
          expect(challenge.scheme).toBe('Bearer');
        }
      });

      test('a revoked JWT that the issuer is not asked about lives to its end: such is the price', async () => {
        expect((await profile(await revokedToken('jwt'))).status).toBe(200);
      });

      test('an answer is held: several requests with one token cost one introspection, good or bad', async () => {
        for (const token of [await api.serviceToken('opaque'), 'nobody-ever-issued-this-either']) {
          const before = api.introspectionCount();
          const statuses = [];
          for (let count = 0; count < 5; count += 1) statuses.push((await profile(token)).status);
          expect(new Set(statuses).size).toBe(1);
          await until('the introspection is in the log', () => api.introspectionCount() > before);
          expect(api.introspectionCount() - before).toBe(1);
        }
      });

      test('a JWT costs no introspection', async () => {
        const before = api.introspectionCount();
        await profile(await api.serviceToken('jwt'));
        expect(api.introspectionCount()).toBe(before);
      });

      test(
        'an answer is not held beyond the end of the token',
        async () => {
          const token = await api.serviceToken('opaque', { ttlSeconds: 5 });
          expect((await profile(token)).status).toBe(200);
          await until('the token has expired', () => isRefused(token), 5_000 + PATIENCE_MS);
        },
        TEST_LIMIT_MS,
      );

      async function revokedKey(): Promise<string> {
        const { key, revoke: revokeKey } = await api.apiKey();
        await revokeKey();
        return key;
      }

      async function revokedToken(format: 'jwt' | 'opaque'): Promise<string> {
        const token = await api.serviceToken(format);
        expect((await revoke(api.issuer, api.service, token)).status).toBe(200);
        return token;
      }
    });

    describe('by introspection of JWTs too, with answers that are held for a second, and few of them', () => {
      beforeAll(async () => {
        program = await start({
          INTROSPECTION_CACHE_SECONDS: String(SHORT_CACHE_SECONDS),
          INTROSPECTION_CACHE_SIZE: String(SMALL_CACHE_SIZE),
          INTROSPECT_JWTS: 'true',
        });
      }, TEST_LIMIT_MS);
      afterAll(() => program?.stop());

      test.each(['jwt', 'opaque'] as const)(
        'a revoked token is refused as soon as what is held has aged: %s',
        async (format) => {
          const token = await api.serviceToken(format);
          expect((await profile(token)).status).toBe(200);
          await revoke(api.issuer, api.service, token);
          await until('the token is refused', () => isRefused(token), SHORT_CACHE_SECONDS * 1_000 + PATIENCE_MS);
          expect((await profile(token)).challenge.error).toBe('invalid_token');
        },
      );

      test('so is a revoked API key', async () => {
        const { key, revoke: revokeKey } = await api.apiKey();
        expect((await profile(key)).status).toBe(200);
        await revokeKey();
        await until('the key is refused', () => isRefused(key), SHORT_CACHE_SECONDS * 1_000 + PATIENCE_MS);
        expect((await profile(key)).challenge.error).toBe('invalid_token');
      });

      test('a JWT is verified before anybody is asked', async () => {
        const jwt = await api.serviceToken('jwt');
        const before = api.introspectionCount();
        expect((await profile(await BAD_JWTS['signed by a key that nobody knows']?.(api, jwt))).status).toBe(401);
        expect(api.introspectionCount()).toBe(before);
        expect((await profile(jwt)).status).toBe(200);
        await until('the server was asked', () => api.introspectionCount() === before + 1);
      });

      test('no more answers are held than are allowed', async () => {
        const tokens = Array.from({ length: 20 }, (_, index) => `unknown-token-${index}`);
        const before = api.introspectionCount();
        for (const token of [...tokens, ...tokens]) expect((await profile(token)).status).toBe(401);
        // Each once, and again all those that were not held.
        const fewest = 2 * tokens.length - SMALL_CACHE_SIZE;
        await until('the last ones are in the log', () => api.introspectionCount() - before >= fewest, PATIENCE_MS);
      });

      // The last one: the server does not come back.
      test(
        'where the issuer hangs or is away there is no verdict, and that within seconds',
        async () => {
          // One that has asked the issuer for something, and not for its keys.
          await program.stop();
          program = await start({});
          expect((await profile(await api.serviceToken('opaque'))).status).toBe(200);
          const tokens = [await api.serviceToken('opaque'), await api.serviceToken('jwt')];
          for (const makeAway of [api.hang, api.close]) {
            await makeAway();
            for (const token of tokens) {
              const asked = performance.now();
              const { status, challenge } = await profile(token);
              expect(status).toBeGreaterThanOrEqual(500);
              expect(challenge.scheme).toBeUndefined();
              expect(performance.now() - asked).toBeLessThan(HANGING_LIMIT_MS);
            }
          }
        },
        TEST_LIMIT_MS,
      );
    });
  });
}

type Challenge = { scheme?: string; error?: string };
type Answer = { status: number; challenge: Challenge; body: unknown };

async function call(address: string, path: string, headers: Record<string, string | string[]>): Promise<Answer> {
  const { status, headers: answered, text } = await rawRequest(address, { path, headers });
  return { status, challenge: readChallenge(answered['www-authenticate']), body: readBody(text) };
}

/** What a challenge says of an error (RFC 6750, section 3); descriptions are everybody's own. */
function readChallenge(header: RawAnswer['headers'][string]): Challenge {
  const text = [header ?? []].flat().join(', ');
  const scheme = /^([A-Za-z]+)(?: |$)/.exec(text)?.[1];
  const error = /[ ,]error="([^"]*)"/.exec(text)?.[1];
  return { ...(scheme && { scheme }), ...(error && { error }) };
}

function readBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
