import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  REDIRECT_URI,
  type TestClient,
  unique,
} from '../harness/factories.ts';
import { authorizationRequest, codeFor, signInForTokens } from '../harness/flows.ts';
import { freshFolder } from '../harness/fresh-folder.ts';
import { Person } from '../harness/person.ts';
import { type ServerProcess, startServerProcess } from '../harness/process.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { clientCredentials, isActive, post, redeem, refresh, revoke, serviceToken } from '../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../harness/until.ts';

const OFFLINE = { scope: 'openid offline_access', prompt: 'consent' };
/** In seconds: short, so that a test can outlive it. */
const LEEWAY = '2';

/** `skewed` is the issuer, as people sign in there; `exact` has the clock of the machine, and so of the database. */
describe.each([
  ['ahead of', 30_000],
  ['behind', -30_000],
])('a node whose clock is 30 s %s the other’s', (_, shiftMs) => {
  let setUp: TestServer;
  let skewed: ServerProcess;
  let exact: TestServer;
  let nodes: string[];
  let folder: ReturnType<typeof freshFolder>;
  let app: TestClient;
  let service: TestClient;
  let jwtService: TestClient;
  let credentials: { login: string; password: string };

  beforeAll(async () => {
    folder = freshFolder();
    setUp = await startTestServer();
    skewed = await startServerProcess({
      dataDirectory: folder.path,
      command: [process.execPath, '--import', './test/harness/shifted-clock.ts', 'src/main.ts'],
      environment: {
        NODE_ENV: 'test',
        DATABASE_URL: setUp.databaseUrl,
        KEY_ENCRYPTION_KEY: setUp.keyEncryptionKey,
        CLOCK_SHIFT_MS: String(shiftMs),
        REFRESH_TOKEN_LEEWAY: LEEWAY,
      },
    });
    await skewed.ready();
    exact = await startTestServer({
      node: setUp,
      environment: { ISSUER: skewed.address, REFRESH_TOKEN_LEEWAY: LEEWAY },
    });
    nodes = [skewed.address, exact.address];
  });
  afterAll(async () => {
    await exact.close();
    await skewed.dispose();
    await setUp.close();
    folder.remove();
  });

  beforeEach(async () => {
    const { domains } = setUp;
    const scopesOf = async (tokenFormat: 'jwt' | 'opaque') => {
      const api = await createTestApi(domains, { tokenFormat });
      return api.scopes.map(({ scope }) => scope).join(' ');
    };
    service = await createServiceClient(domains, await scopesOf('opaque'));
    jwtService = await createServiceClient(domains, await scopesOf('jwt'));
    // Public: its refresh tokens rotate.
    app = await createTestClient(domains, { metadata: { token_endpoint_auth_method: 'none' } });
    credentials = await createTestAccount(domains);
    for (const node of nodes) {
      for (const client of [service, jwtService]) {
        await until('its client is known', async () => (await clientCredentials(node, client)).status === 200);
      }
    }
  });

  const [one, other] = [() => nodes[0] ?? '', () => nodes[1] ?? ''];
  const pairs = () => [
    { from: one(), to: other() },
    { from: other(), to: one() },
  ];

  test('really has another clock', async () => {
    const date = async (node: string) => {
      const token = await serviceToken(node, jwtService);
      return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).iat as number;
    };
    expect(Math.round(((await date(one())) - (await date(other()))) / 10)).toBe(shiftMs / 10_000);
  });

  test('a code of either is redeemed at the other, and who is signed in at one is so at both', async () => {
    const person = new Person();
    const { code, verifier } = await codeFor(one(), app, credentials, { person, parameters: OFFLINE });
    expect((await redeem(other(), app, code, verifier)).status).toBe(200);

    const silent = authorizationRequest(other(), app.id, { prompt: 'none' });
    const back = new URL((await person.request(silent.url)).headers.get('location') ?? '');
    expect(back.href.startsWith(REDIRECT_URI)).toBe(true);
    expect((await redeem(one(), app, back.searchParams.get('code') ?? '', silent.verifier)).status).toBe(200);
  });

  test('a refresh token goes back and forth; a retry within the leeway gets the same, a use after it ends the grant', async () => {
    const tokens = await signInForTokens(one(), app, credentials, { parameters: OFFLINE });
    let current = tokens.refresh_token ?? '';
    for (const node of [other(), one(), other(), one()]) {
      const { status, body } = await refresh(node, app, current);
      expect(status).toBe(200);
      current = String(body.refresh_token);
    }
    const parent = current;
    const answers = await Promise.all([...nodes, ...nodes].map((node) => refresh(node, app, parent)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const successors = new Set(answers.map(({ body }) => String(body.refresh_token)));
    expect(successors.size).toBe(1);
    const [successor = ''] = successors;
    await until('the leeway is over', async () => (await refresh(one(), app, parent)).body.error === 'invalid_grant');
    for (const node of nodes) expect((await refresh(node, app, successor)).body.error).toBe('invalid_grant');
  });

  test.each([
    ['an opaque token', () => service],
    ['a JWT', () => jwtService],
  ])('%s of either is active at both, and dead at both once it is revoked at either', async (_format, client) => {
    for (const { from, to } of pairs()) {
      for (const revokedAt of [from, to]) {
        const token = await serviceToken(from, client());
        for (const node of nodes) expect(await isActive(node, client(), token)).toBe(true);
        expect((await revoke(revokedAt, client(), token)).status).toBe(200);
        expect(await isActive(revokedAt, client(), token)).toBe(false);
        for (const node of nodes) {
          await until('it is dead', async () => !(await isActive(node, client(), token)), SEEN_WITHIN_MS);
        }
      }
    }
  });

  test('what ends a client’s tokens ends those from before at both, and none from after', async () => {
    const before = await Promise.all(nodes.map((node) => serviceToken(node, jwtService)));
    await setUp.domains.revocations.revokeClient(jwtService.id);
    for (const node of nodes) {
      for (const token of before) {
        await until('it is dead', async () => !(await isActive(node, jwtService, token)), SEEN_WITHIN_MS);
      }
    }
    const after = await Promise.all(nodes.map((node) => serviceToken(node, jwtService)));
    for (const node of nodes) for (const token of after) expect(await isActive(node, jwtService, token)).toBe(true);
  });

  /** The tolerance is 15 s (docs/operations.md): what is valid from now on is from the future for a node further behind. */
  test('an assertion that bears nbf is taken, but not by a node that is 30 s behind', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const api = await createTestApi(setUp.domains);
    const client = await createServiceClient(setUp.domains, api.scopes.map(({ scope }) => scope).join(' '), {
      metadata: {
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: [{ ...(await exportJWK(publicKey)), kty: 'EC', alg: 'ES256', use: 'sig' }] },
      },
    });
    const now = Math.floor(Date.now() / 1_000);
    const ask = async (node: string) => {
      const assertion = await new SignJWT({ jti: unique('jti'), sub: client.id, nbf: now, iat: now, exp: now + 60 })
        .setProtectedHeader({ alg: 'ES256' })
        .setIssuer(client.id)
        .setAudience(skewed.address)
        .sign(privateKey);
      return post(`${node}/token`, undefined, {
        grant_type: 'client_credentials',
        client_assertion: assertion,
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      });
    };
    expect((await ask(other())).status).toBe(200);
    const { status, body } = await ask(one());
    expect([status, body.error]).toEqual(shiftMs > 0 ? [200, undefined] : [401, 'invalid_client']);
  });

  test('a disabled account is out at both', async () => {
    const account = await createTestAccount(setUp.domains);
    const tokens = await signInForTokens(one(), app, account, { parameters: OFFLINE });
    await setUp.domains.accounts.disable(account.account.id);
    for (const node of nodes) {
      await until('its token is dead', async () => !(await isActive(node, app, tokens.access_token)), SEEN_WITHIN_MS);
      expect((await refresh(node, app, tokens.refresh_token)).body.error).toBe('invalid_grant');
    }
  });
});
