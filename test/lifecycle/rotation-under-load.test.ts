import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createRemoteJWKSet, decodeProtectedHeader, type JWTVerifyGetKey, jwtVerify } from 'jose';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../harness/factories.ts';
import { codeFor } from '../harness/flows.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import { Person } from '../harness/person.ts';
import { freePort, type ServerProcess, startServerProcess } from '../harness/process.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { type Answer, clientCredentials, introspect, redeem, refresh } from '../harness/token-requests.ts';

const LOAD_SECONDS = 60;
/** The proportions of production: keys are announced for longer than a verifier keeps /jwks, and live longer than that. */
const POLICY = { KEY_ROTATION_INTERVAL: '5', KEY_ANNOUNCE_TIME: '4' };
const VERIFIER_CACHE_MS = 3_000;
/** Six seconds a key on a busy machine, and room. */
const LEAST_KEYS = 6;
const ALGORITHMS = ['RS256', 'ES256'] as const;

let setUp: TestServer;
let folder: ReturnType<typeof freshFolder>;
const nodes: ServerProcess[] = [];

beforeAll(async () => {
  // What is registered is registered here; it takes no part in the load, and rotates nothing.
  setUp = await startTestServer();
  folder = freshFolder();
  const port = await freePort();
  for (const own of [port, undefined]) {
    const node = await startServerProcess({
      dataDirectory: folder.path,
      ...(own === undefined ? undefined : { port: own }),
      environment: {
        NODE_ENV: 'test',
        DATABASE_URL: setUp.databaseUrl,
        KEY_ENCRYPTION_KEY: setUp.keyEncryptionKey,
        ISSUER: `http://localhost:${port}`,
        ARGON2_MEMORY_KIB: '8192',
        ...POLICY,
      },
    });
    nodes.push(node);
    await node.ready();
  }
});
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.dispose()));
  await setUp.close();
  folder.remove();
});

/** Verifies as resource servers do; /jwks is fetched again when it is three seconds old, and for no other reason. */
function verifierAt(address: string): JWTVerifyGetKey {
  return createRemoteJWKSet(new URL(`${address}/jwks`), {
    cacheMaxAge: VERIFIER_CACHE_MS,
    cooldownDuration: 3_600_000,
  });
}

test('keys rotate under load on two nodes: no request fails, and every JWT verifies at first sight', async () => {
  const [first, second] = nodes.map(({ address }) => address) as [string, string];
  const issuer = first;
  const verifiers = new Map([first, second].map((node) => [node, verifierAt(node)]));
  const other = (node: string) => (node === first ? second : first);
  const faults: string[] = [];
  const seen = new Set<string>();
  const done = { 'code flows': 0, refreshes: 0, 'client credentials': 0, introspections: 0, 'JWTs verified': 0 };
  const until = performance.now() + LOAD_SECONDS * 1_000;
  const isOver = () => performance.now() > until;

  function expectGood(what: string, { status, body }: Answer): boolean {
    if (status !== 200) faults.push(`${what}: ${status} ${JSON.stringify(body)}`);
    return status === 200;
  }

  async function verify(what: string, node: string, jwt: string): Promise<void> {
    const { kid = '', alg = '' } = decodeProtectedHeader(jwt);
    const keys = verifiers.get(node) as JWTVerifyGetKey;
    await jwtVerify(jwt, keys, { issuer }).then(
      () => {
        seen.add(`${alg} ${kid}`);
        done['JWTs verified'] += 1;
      },
      (error: Error) => faults.push(`${what} ${kid}: ${error.message}`),
    );
  }

  /** At the node that has not issued it. */
  async function check(what: string, issuedAt: string, token: string, client: TestClient): Promise<void> {
    const node = other(issuedAt);
    if (token.split('.').length === 3) await verify(what, node, token);
    const answer = await introspect(node, client, token);
    if (!expectGood(`introspection of ${what}`, answer)) return;
    done.introspections += 1;
    if (answer.body.active !== true) faults.push(`${what} is said to be inactive`);
  }

  async function serve(service: TestClient, what: string): Promise<void> {
    for (let node = first; !isOver(); node = other(node)) {
      const issued = await clientCredentials(node, service);
      if (!expectGood(what, issued)) continue;
      done['client credentials'] += 1;
      await check(what, node, String(issued.body.access_token), service);
    }
  }

  async function use(app: TestClient, resource: string, parameters: Record<string, string>): Promise<void> {
    const credentials = await createTestAccount(setUp.domains);
    const person = new Person();
    while (!isOver()) {
      const { code, verifier } = await codeFor(issuer, app, credentials, { person, parameters });
      let answer = await redeem(second, app, code, verifier, { resource });
      if (!expectGood('redemption', answer)) continue;
      done['code flows'] += 1;
      for (let node = second, turn = 0; ; turn += 1) {
        const { access_token, id_token, refresh_token } = answer.body;
        await check('access token', node, String(access_token), app);
        await check('refresh token', node, String(refresh_token), app);
        await verify('ID token', other(node), String(id_token));
        if (turn === 3 || isOver()) break;
        node = other(node);
        answer = await refresh(node, app, String(refresh_token), { resource });
        if (!expectGood('refresh', answer)) break;
        done.refreshes += 1;
      }
    }
  }

  const load: Promise<void>[] = [];
  for (const signingAlgorithm of ALGORITHMS) {
    const api = await createTestApi(setUp.domains, { tokenFormat: 'jwt', signingAlgorithm });
    const scope = api.scopes[0]?.scope ?? '';
    const service = await createServiceClient(setUp.domains, scope);
    const app = await createTestClient(setUp.domains, {
      // Public: its refresh tokens rotate.
      metadata: {
        token_endpoint_auth_method: 'none',
        scope: `openid offline_access ${scope}`,
        id_token_signed_response_alg: signingAlgorithm,
      },
    });
    const parameters = { scope: `openid offline_access ${scope}`, resource: api.identifier, prompt: 'consent' };
    load.push(serve(service, `${signingAlgorithm} JWT`), use(app, api.identifier, parameters));
  }
  const opaque = await createTestApi(setUp.domains);
  load.push(serve(await createServiceClient(setUp.domains, opaque.scopes[0]?.scope ?? ''), 'opaque token'));
  const isLate = await Promise.race([
    Promise.all(load).then(() => false),
    delay(LOAD_SECONDS * 1_500, true, { ref: false }),
  ]);
  if (isLate) faults.push('a request had no answer');

  const counts = Object.entries(done).map(([what, count]) => `${count} ${what}`);
  const kids = ALGORITHMS.map((alg) => `${[...seen].filter((it) => it.startsWith(alg)).length} keys of ${alg}`);
  process.stdout.write(`in ${LOAD_SECONDS} s: ${[...counts, ...kids].join(', ')}; ${faults.length} faults\n`);
  expect(faults.slice(0, 20)).toEqual([]);
  for (const count of Object.values(done)) expect(count).toBeGreaterThan(0);
  for (const alg of ALGORITHMS) {
    expect([...seen].filter((it) => it.startsWith(alg)).length).toBeGreaterThanOrEqual(LEAST_KEYS);
  }
}, 150_000);
