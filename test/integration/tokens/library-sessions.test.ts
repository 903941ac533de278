import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { type Adapter, type AdapterPayload, Provider } from 'oidc-provider';
import { type ArtifactKind, type ArtifactStore, createPostgresArtifactStore } from '../../../src/tokens/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { createAesSealer } from './aes-sealer.ts';

/** What the store assumes of the library's handling of sessions, seen with the library itself. */

const clientId = 'photos';
const redirectUri = 'https://app.example/callback';

type Answer = { status: number; location: string; body: string };

/** One browser: keeps cookies by name, and can hold back the body of a form. */
function openBrowser(port: number, cookies = new Map<string, string>()) {
  function send(
    method: string,
    path: string,
    form?: Record<string, string>,
    holdBody?: Promise<void>,
  ): Promise<Answer> {
    const body = form && new URLSearchParams(form).toString();
    return new Promise((resolve, reject) => {
      const headers: Record<string, string | number> = {
        cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(body !== undefined && {
          'content-type': 'application/x-www-form-urlencoded',
          'content-length': Buffer.byteLength(body),
        }),
      };
      const outgoing = request({ port, method, path, headers }, (incoming) => read(incoming).then(resolve, reject));
      outgoing.on('error', reject);
      if (holdBody === undefined) {
        outgoing.end(body);
        return;
      }
      outgoing.flushHeaders();
      void holdBody.then(() => outgoing.end(body));
    });
  }

  async function read(incoming: IncomingMessage): Promise<Answer> {
    for (const line of incoming.headers['set-cookie'] ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (name === undefined) continue;
      if (value) cookies.set(name, value);
      else cookies.delete(name);
    }
    const chunks = await incoming.toArray();
    const location = new URL(incoming.headers.location ?? '/', `http://127.0.0.1:${port}`);
    const isOwn = location.port === String(port);
    return {
      status: incoming.statusCode ?? 0,
      location: isOwn ? location.pathname + location.search : location.href,
      body: Buffer.concat(chunks).toString(),
    };
  }

  const authorize = (prompt?: string) =>
    send(
      'GET',
      `/auth?${new URLSearchParams({
        client_id: clientId,
        response_type: 'code',
        redirect_uri: redirectUri,
        scope: 'openid',
        code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
        code_challenge_method: 'S256',
        ...(prompt && { prompt }),
      })}`,
    );

  return {
    send,
    /** Whether the person is signed in, as an application would find out. */
    async isSignedIn(): Promise<boolean> {
      const { location } = await authorize('none');
      return new URL(location).searchParams.get('error') !== 'login_required';
    },
    async signIn(accountId: string, prompt?: string): Promise<void> {
      let answer = await authorize(prompt);
      for (let step = 0; step < 8 && !answer.location.startsWith(redirectUri); step += 1) {
        const form = /"prompt" value="(\w+)"/.exec((await send('GET', answer.location)).body);
        const finished = await send('POST', answer.location, { prompt: form?.[1] ?? '', login: accountId });
        answer = await send('GET', finished.location);
      }
      expect(new URL(answer.location).searchParams.has('code')).toBe(true);
    },
    async logoutSecret(): Promise<string> {
      const page = await send('GET', `/session/end?client_id=${clientId}`);
      return /name="xsrf" value="([^"]+)"/.exec(page.body)?.[1] ?? '';
    },
    copy: () => openBrowser(port, new Map(cookies)),
  };
}

describe('sessions of the library on this store', () => {
  let testDatabase: TestDatabase;
  let store: ArtifactStore;
  let server: Server;
  let browser: ReturnType<typeof openBrowser>;
  let sessionLoaded: () => void = () => undefined;

  beforeAll(async () => {
    // The library's quick-start pages, which serve well here, warn that they are no pages for production.
    for (const method of ['warn', 'info'] as const) jest.spyOn(console, method).mockImplementation(() => undefined);
    testDatabase = await openTestDatabase();
    store = createPostgresArtifactStore({
      pool: testDatabase.database.pool,
      sealer: createAesSealer(randomBytes(32)),
      userCodeKey: () => randomBytes(32),
      clock: Date.now,
    });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const provider = new Provider('http://127.0.0.1', {
      adapter: adapterFor,
      clients: [{ client_id: clientId, redirect_uris: [redirectUri], token_endpoint_auth_method: 'none' }],
      cookies: { keys: [randomBytes(16).toString('hex')] },
      findAccount: (_ctx, accountId) => ({ accountId, claims: async () => ({ sub: accountId }) }),
      jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] },
      clientDefaults: { id_token_signed_response_alg: 'ES256' },
      ttl: { Session: 3_600, Grant: 3_600, Interaction: 600 },
    });
    server = provider.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await store.close();
    await testDatabase.close();
  });
  beforeEach(() => {
    browser = openBrowser((server.address() as AddressInfo).port);
  });

  function adapterFor(name: string): Adapter {
    const kind = name as ArtifactKind;
    return {
      upsert: (id, payload, ttlSeconds) => store.upsert(kind, id, payload as Record<string, unknown>, ttlSeconds),
      async find(id) {
        const found = (await store.find(kind, id)) as AdapterPayload | undefined;
        if (kind === 'Session') sessionLoaded();
        return found;
      },
      findByUid: (uid) => store.findByUid(uid) as Promise<AdapterPayload | undefined>,
      findByUserCode: (userCode) => store.findByUserCode(userCode) as Promise<AdapterPayload | undefined>,
      consume: async (id) => void (await store.consume(kind, id)),
      destroy: (id) => store.destroy(kind, id),
      revokeByGrantId: (grantId) => store.revokeByGrantId(kind, grantId),
    };
  }

  test('a session outlives the new ids that sign-in, consent and a second sign-in give it', async () => {
    await browser.signIn('alice');
    expect(await browser.isSignedIn()).toBe(true);
    await browser.signIn('alice', 'login');
    expect(await browser.isSignedIn()).toBe(true);
    expect(await browser.isSignedIn()).toBe(true);
  });

  test('signing out ends it', async () => {
    await browser.signIn('alice');
    const thief = browser.copy();
    await browser.send('POST', '/session/end/confirm', { xsrf: await browser.logoutSecret(), logout: 'yes' });
    expect(await browser.isSignedIn()).toBe(false);
    expect(await thief.isSignedIn()).toBe(false);
  });

  test('a stolen session does not survive a sign-out by a request that was begun before it', async () => {
    await browser.signIn('alice');
    const thief = browser.copy();
    const secret = await thief.logoutSecret();

    let sendBody: () => void = () => undefined;
    const bodyHeld = new Promise<void>((resolve) => {
      sendBody = resolve;
    });
    const isLoaded = new Promise<void>((resolve) => {
      sessionLoaded = resolve;
    });
    // Leaving one application gives the session a new id; the library has read it before it waits for the body.
    const leaving = thief.send('POST', '/session/end/confirm', { xsrf: secret }, bodyHeld);
    await isLoaded;
    await browser.send('POST', '/session/end/confirm', { xsrf: secret, logout: 'yes' });
    sendBody();
    expect((await leaving).status).toBe(303);
    expect(await thief.isSignedIn()).toBe(false);
  });
});
