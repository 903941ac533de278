import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CryptoKey, decodeProtectedHeader, generateKeyPair, SignJWT } from 'jose';
import { startHttpServer } from '../browser/http-server.ts';
import { openDatabaseWay } from '../harness/database-way.ts';
import { createServiceClient, createTestApi, type TestClient, unique } from '../harness/factories.ts';
import { recordingLogger } from '../harness/loggers.ts';
import { freePort } from '../harness/process.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { serviceToken } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { rawRequest } from '../security/raw-http.ts';
import { type Example, type InstalledExample, installExample, type RunningProgram } from './example-program.ts';

/** Downloads, and a Java program that is compiled on a busy machine. */
const INSTALL_LIMIT_MS = 600_000;
const TEST_LIMIT_MS = 120_000;
/** How soon a new key is looked for again, and as much for a busy machine. */
const NEW_KEY_LIMIT_MS = 20_000;
const FORGED_COUNT = 20;
/** What is answered later is waiting for the issuer; by then a known key has long been found. */
const PROMPT_MS = 300;
const PATIENCE_MS = 2_000;
/** The first look, one for what is unknown, and one more where these take longer than a look is put off. */
const MOST_LOOKS = 3;

/** How a resource server among the examples goes about the issuer's public keys, which it fetches by itself. */
export function issuerKeysContract(example: Example): void {
  describe(`examples/${example.name} and the issuer’s keys`, () => {
    const log = recordingLogger();
    let server: TestServer;
    let way: Awaited<ReturnType<typeof openDatabaseWay>>;
    let audience: string;
    let service: TestClient;
    let installed: InstalledExample;
    let program: RunningProgram;

    beforeAll(async () => {
      // TCP is TCP: a way to a database can be silenced, one to an issuer as well.
      way = await openDatabaseWay('http://127.0.0.1:9');
      const environment = { ISSUER: new URL(way.url).origin };
      [server, installed] = await Promise.all([
        startTestServer({ logger: log.logger, environment }),
        installExample(example),
      ]);
      way.moveTo(server.address);
      const scopes = ['read', 'admin'];
      audience = (await createTestApi(server.domains, { scopes, tokenFormat: 'jwt' })).identifier;
      service = await createServiceClient(server.domains, 'read');
      program = await start(server.issuer);
    }, INSTALL_LIMIT_MS);
    afterAll(async () => {
      await installed?.remove();
      await way?.cut();
      await server?.close();
    }, TEST_LIMIT_MS);

    /** It introspects nothing here: any client will do. */
    const start = (issuer: string): Promise<RunningProgram> =>
      installed.start({
        ISSUER: issuer,
        AUDIENCE: audience,
        INTROSPECTION_CLIENT_ID: service.id,
        INTROSPECTION_CLIENT_SECRET: service.secret,
      });
    const newToken = () => serviceToken(server.issuer, service, { scope: 'read', resource: audience });
    const profile = ({ address }: RunningProgram, token: string) =>
      rawRequest(address, { path: '/profile', headers: { authorization: `Bearer ${token}` } });
    const forgedToken = (privateKey: CryptoKey) => {
      const now = Math.floor(Date.now() / 1_000);
      const claims = { iss: server.issuer, aud: audience, sub: service.id, client_id: service.id, jti: unique('jti') };
      return new SignJWT({ ...claims, iat: now, exp: now + 600 })
        .setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', kid: unique('key') })
        .sign(privateKey);
    };
    const looks = () => log.lines.filter(({ endpoint }) => endpoint === 'jwks').length;

    test(
      'a key that signs unannounced is found within seconds',
      async () => {
        const before = await newToken();
        expect((await profile(program, before)).status).toBe(200);
        await server.domains.signingKeys.rotate({ algorithm: 'RS256', now: true });
        let token = before;
        await until('the new key signs', async () => {
          token = await newToken();
          return decodeProtectedHeader(token).kid !== decodeProtectedHeader(before).kid;
        });
        await until('it is known', async () => (await profile(program, token)).status === 200, NEW_KEY_LIMIT_MS);
        expect((await profile(program, before)).status).toBe(200);
      },
      TEST_LIMIT_MS,
    );

    test('whoever makes up key ids is refused, and can’t make it ask the issuer for each', async () => {
      const { privateKey } = await generateKeyPair('RS256');
      const before = looks();
      for (let count = 0; count < FORGED_COUNT; count += 1) {
        const { status, headers } = await profile(program, await forgedToken(privateKey));
        expect({ status, challenge: headers['www-authenticate'] }).toEqual({
          status: 401,
          challenge: expect.stringContaining('error="invalid_token"'),
        });
      }
      expect(looks() - before).toBeLessThanOrEqual(MOST_LOOKS);
      expect((await profile(program, await newToken())).status).toBe(200);
    });

    test(
      'as long as no key could be fetched there is no verdict, however often it is asked',
      async () => {
        const early = await start(`http://127.0.0.1:${await freePort()}`);
        const token = await newToken();
        for (let count = 0; count < 5; count += 1) {
          const { status, headers } = await profile(early, token);
          expect(status).toBeGreaterThanOrEqual(500);
          expect(headers['www-authenticate']).toBeUndefined();
        }
        await early.stop();
      },
      TEST_LIMIT_MS,
    );

    test(
      'keys that can’t be read are no verdict',
      async () => {
        const token = await newToken();
        const { kid } = decodeProtectedHeader(token);
        let keys: Record<string, unknown> = {};
        const broken = await startHttpServer((url) => ({
          body: url.pathname === '/jwks' ? keys : { issuer: broken.origin, jwks_uri: `${broken.origin}/jwks` },
        }));
        for (keys of [{}, { keys: [{ kty: 'RSA', alg: 'RS256', use: 'sig', kid }] }]) {
          const early = await start(broken.origin);
          const { status, headers } = await profile(early, token);
          expect(status).toBeGreaterThanOrEqual(500);
          expect(headers['www-authenticate']).toBeUndefined();
          await early.stop();
        }
        await broken.close();
      },
      TEST_LIMIT_MS,
    );

    // The last one: the issuer does not come back.
    test(
      'whoever makes up key ids while the issuer is slow stops nobody whose key is known',
      async () => {
        const { privateKey } = await generateKeyPair('RS256');
        const token = await newToken();
        expect((await profile(program, token)).status).toBe(200);
        way.silence();
        const isLookedFor = async () => {
          const answer = profile(program, await forgedToken(privateKey)).then(() => false);
          return Promise.race([answer, delay(PROMPT_MS, true)]);
        };
        await until('a made-up key is looked for', isLookedFor, NEW_KEY_LIMIT_MS);
        const forged = Array.from({ length: FORGED_COUNT }, async () =>
          profile(program, await forgedToken(privateKey)),
        );
        // They are on their way.
        await delay(PROMPT_MS);
        const asked = performance.now();
        expect((await profile(program, token)).status).toBe(200);
        expect(performance.now() - asked).toBeLessThan(PATIENCE_MS);
        for (const { status } of await Promise.all(forged)) expect(status).toBeGreaterThanOrEqual(401);
        expect((await profile(program, token)).status).toBe(200);
      },
      TEST_LIMIT_MS,
    );
  });
}
