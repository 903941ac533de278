import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { composeClaimsHook } from '../../../src/compose/claims-hook.ts';
import { createServiceClient, createTestAccount, createTestApi, createTestClient } from '../../harness/factories.ts';
import { codeFor, signInForTokens } from '../../harness/flows.ts';
import { freshFolder } from '../../harness/fresh-folder.ts';
import { recordingLogger } from '../../harness/loggers.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, introspect, redeem, refresh, serviceToken } from '../../harness/token-requests.ts';

/**
 * A module such as a deployment has. What it does hangs on the scopes of the token, so that one server does for all tests.
 */
const HOOK = `
export default async function (context, { signal }) {
  const wants = (word) => context.scopes.some((scope) => scope.endsWith(word));
  if (wants(':throws')) throw new Error('the directory is away');
  if (wants(':hangs')) return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  if (wants(':garbage')) return 'allow';
  if (wants(':steals')) return { claims: { sub: 'somebody-else' } };
  if (wants(':changes')) context.client.id = 'another';
  if (wants(':refuses')) return { refuse: 'not from this network' };
  if (wants(':huge')) return { claims: { tenant: 'a'.repeat(2_000) } };
  return { claims: { seen: context } };
}`;

const WORDS = ['plain', 'throws', 'hangs', 'garbage', 'steals', 'changes', 'refuses', 'huge'];
const folder = freshFolder('claims-hook');
const path = join(folder.path, 'hook.mjs');
const { logger, lines } = recordingLogger();

let strict: TestServer;
let lenient: TestServer;
let account: Awaited<ReturnType<typeof createTestAccount>>;
let app: Awaited<ReturnType<typeof createTestClient>>;
let service: Awaited<ReturnType<typeof createServiceClient>>;

beforeAll(async () => {
  writeFileSync(path, HOOK);
  const environment = { CLAIMS_HOOK: path, CLAIMS_HOOK_TIMEOUT_MS: '200', ACCESS_TOKEN_MAX_BYTES: '2400' };
  strict = await startTestServer({ environment });
  lenient = await startTestServer({
    node: strict,
    environment: { ...environment, CLAIMS_HOOK_ON_FAULT: 'ignore' },
    logger,
  });
  const scopes = WORDS.map((word) => `hook:${word}`);
  for (const tokenFormat of ['jwt', 'opaque'] as const) {
    await createTestApi(strict.domains, { identifier: `urn:hook:${tokenFormat}`, scopes, tokenFormat });
  }
  await lenient.domains.apis.load();
  const scope = `openid offline_access ${scopes.join(' ')}`;
  account = await createTestAccount(strict.domains);
  app = await createTestClient(strict.domains, { mayIntrospectAny: true, metadata: { scope } });
  service = await createServiceClient(strict.domains, scopes.join(' '));
});
afterAll(async () => {
  await lenient?.close();
  await strict?.close();
  folder.remove();
});

const ask = (server: TestServer, word: string, format = 'opaque') =>
  clientCredentials(server.address, service, { scope: `hook:${word}`, resource: `urn:hook:${format}` });

describe('a claims hook', () => {
  test.each(['jwt', 'opaque'])('is told of a service, and adds to its token of the format %s', async (format) => {
    const token = await serviceToken(strict.issuer, service, { scope: 'hook:plain', resource: `urn:hook:${format}` });
    const { body } = await introspect(strict.issuer, app, token);
    expect(body.seen).toEqual({
      token: 'access_token',
      grantType: 'client_credentials',
      client: { id: service.id, name: 'Test App', origin: 'operator' },
      scopes: ['hook:plain'],
      resource: `urn:hook:${format}`,
      network: { address: '127.0.0.1' },
      risk: { failedSignIns: expect.any(Number) },
    });
    if (format === 'jwt') expect(decodeJwt(token).seen).toEqual(body.seen);
  });

  test('is told of a person, and asked about each token, again when it is refreshed', async () => {
    const parameters = { scope: 'openid offline_access hook:plain', resource: 'urn:hook:jwt', prompt: 'consent' };
    const tokens = await signInForTokens(strict.issuer, app, account, {
      parameters,
      redemption: { resource: 'urn:hook:jwt' },
    });
    const person = { id: account.account.id, email: account.login, isEmailVerified: true, roles: [] };
    expect(decodeJwt(tokens.access_token).seen).toMatchObject({
      token: 'access_token',
      grantType: 'authorization_code',
      account: person,
      resource: 'urn:hook:jwt',
    });
    expect(decodeJwt(tokens.id_token ?? '').seen).toMatchObject({ token: 'id_token', account: person });
    const refreshed = await refresh(strict.issuer, app, tokens.refresh_token, { resource: 'urn:hook:jwt' });
    expect(refreshed.body).toMatchObject({ access_token: expect.any(String) });
    expect(decodeJwt(String(refreshed.body.access_token)).seen).toMatchObject({ grantType: 'refresh_token' });
  });

  test('is told how many sign-ins have failed from that network', async () => {
    const { account: victim } = await createTestAccount(strict.domains);
    const before = await failuresSeen();
    await codeFor(strict.issuer, app, { login: victim.email, password: 'wrong' }).catch(() => undefined);
    expect(await failuresSeen()).toBeGreaterThan(before);
  });

  async function failuresSeen(): Promise<number> {
    const token = await serviceToken(strict.issuer, service, { scope: 'hook:plain', resource: 'urn:hook:jwt' });
    return (decodeJwt(token).seen as { risk: { failedSignIns: number } }).risk.failedSignIns;
  }

  test('refuses, and its reason is told to the client', async () => {
    const answer = await ask(strict, 'refuses');
    expect(answer).toMatchObject({
      status: 400,
      body: { error: 'access_denied', error_description: 'not from this network' },
    });
    expect((await ask(lenient, 'refuses')).body.error).toBe('access_denied');
  });

  test('refuses a person’s tokens as well', async () => {
    const parameters = { scope: 'openid hook:refuses', resource: 'urn:hook:jwt' };
    const { code, verifier } = await codeFor(strict.issuer, app, account, { parameters });
    const answer = await redeem(strict.issuer, app, code, verifier, { resource: 'urn:hook:jwt' });
    expect(answer.body.error).toBe('access_denied');
  });

  describe.each(['throws', 'hangs', 'garbage', 'steals', 'changes'])('that %s', (word) => {
    test('lets no token out where CLAIMS_HOOK_ON_FAULT is refuse', async () => {
      const { status, body, headers } = await ask(strict, word);
      expect({ status, error: body.error }).toEqual({ status: 503, error: 'temporarily_unavailable' });
      expect(headers.get('retry-after')).not.toBeNull();
      // What is wrong in a deployment's own house is for its log alone.
      expect(JSON.stringify(body)).not.toMatch(/directory|answer|claim/i);
    });

    test('adds nothing where it is ignore, and the log says so', async () => {
      lines.length = 0;
      const { status, body } = await ask(lenient, word);
      expect(status).toBe(200);
      const told = (await introspect(lenient.address, app, String(body.access_token))).body;
      expect(told).toMatchObject({ active: true, client_id: service.id });
      expect(told.sub).toBeUndefined();
      expect(told).not.toHaveProperty('seen');
      expect(JSON.stringify(lines)).toContain('without CLAIMS_HOOK');
    });
  });

  test('is not waited for longer than CLAIMS_HOOK_TIMEOUT_MS', async () => {
    const before = performance.now();
    await ask(strict, 'hangs');
    expect(performance.now() - before).toBeLessThan(5_000);
  });

  test('makes no JWT larger than may be', async () => {
    expect(await ask(strict, 'huge', 'jwt')).toMatchObject({ status: 500, body: { error: 'server_error' } });
    expect((await ask(strict, 'huge', 'opaque')).status).toBe(200);
  });
});

describe('a start', () => {
  test.each([
    ['is not there', undefined, /CLAIMS_HOOK: .*missing\.mjs/],
    ['has no default export', 'export const hook = 1;', /wants a function as its default export/],
    ['exports something else', 'export default 1;', /wants a function as its default export/],
    ['does not load', 'throw new Error("broken")', /CLAIMS_HOOK: .*broken/],
  ])('is refused where the module %s', async (_, text, message) => {
    const file = join(folder.path, text === undefined ? 'missing.mjs' : `${Math.random()}.mjs`);
    if (text !== undefined) writeFileSync(file, text);
    const settings = { claimsHook: { path: file, timeoutMs: 1, onFault: 'refuse' as const } };
    const starting = composeClaimsHook(settings, { failuresFrom: async () => 0 });
    await expect(starting).rejects.toThrow(message);
  });
});
