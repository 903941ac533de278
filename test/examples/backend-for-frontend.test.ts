import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { type HttpServer, startHttpServer } from '../browser/http-server.ts';
import { launchBrowser, type Visit, visit } from '../harness/browser.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../harness/factories.ts';
import { authorizationRequest, authorize } from '../harness/flows.ts';
import { recordingLogger } from '../harness/loggers.ts';
import { Person } from '../harness/person.ts';
import { freePort } from '../harness/process.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { introspect } from '../harness/token-requests.ts';
import { signInAndDecide } from './at-the-issuer.ts';
import { type InstalledExample, installExample, type RunningProgram } from './example-program.ts';
import { walkthrough } from './walkthrough.ts';

const AUDIENCE = 'https://notes.example.com';
const SCOPE = 'notes:read';
const TTL_SECONDS = 600;

const log = recordingLogger();
let server: TestServer;
let browser: Browser;
let example: InstalledExample;
let client: TestClient;
let person: Awaited<ReturnType<typeof createTestAccount>>;
let api: HttpServer;
/** What the API was called with, newest last. */
const tokensSeen: string[] = [];
let apiClient: TestClient;
let port: string;
let origin: string;
let bff: RunningProgram;
/** Of somebody else, on a site of its own and, on another port, on that of the backend. */
let evil: HttpServer;
let evilPage = '';

beforeAll(async () => {
  [server, browser, example] = await Promise.all([
    startTestServer({ logger: log.logger }),
    launchBrowser(),
    installExample({
      name: 'backend-for-frontend',
      install: [['npm', 'ci', '--no-audit', '--no-fund']],
      command: [process.execPath, 'server.js'],
    }),
  ]);
  const { domains, issuer } = server;
  port = String(await freePort());
  origin = `http://127.0.0.1:${port}`;
  await createTestApi(domains, { identifier: AUDIENCE, scopes: [SCOPE], tokenFormat: 'jwt' });
  apiClient = await createServiceClient(domains, SCOPE);
  await domains.apis.update(AUDIENCE, { introspectionClientIds: [apiClient.id] });
  client = await createTestClient(domains, {
    metadata: {
      redirect_uris: [`${origin}/callback`],
      post_logout_redirect_uris: [`${origin}/`],
      scope: `openid offline_access ${SCOPE}`,
      // What the backend has to find out by itself, the issuer shall not.
      require_pkce: false,
    },
  });
  person = await createTestAccount(domains, { name: 'Ada Lovelace' });
  api = await startHttpServer(async (url, request) => {
    const token = (request.headers.authorization ?? '').slice('Bearer '.length);
    tokensSeen.push(token);
    const { active, sub, aud } = (await introspect(issuer, apiClient, token)).body;
    if (!active || aud !== AUDIENCE) return { status: 401, body: { error: 'invalid_token' } };
    return { body: { path: url.pathname, sub: String(sub) } };
  });
  evil = await startHttpServer(() => ({ body: evilPage }));
  bff = await start();
}, 240_000);
afterAll(async () => {
  await Promise.all([browser?.close(), example?.remove(), api?.close(), evil?.close()]);
  await server?.close();
});

const start = (settings: Record<string, string> = {}) =>
  example.start({
    PORT: port,
    ORIGIN: origin,
    ISSUER: server.issuer,
    CLIENT_ID: client.id,
    CLIENT_SECRET: client.secret,
    API_URL: api.origin,
    AUDIENCE,
    API_SCOPE: SCOPE,
    ...settings,
  });

async function restart(settings?: Record<string, string>): Promise<void> {
  await bff.stop();
  bff = await start(settings);
}

const shown = (page: Page, text: string) => page.getByText(text).first().waitFor();

async function signedIn(): Promise<Visit> {
  const visited = await visit(browser);
  await visited.page.goto(origin);
  await visited.page.click('text=Sign in');
  await signInAndDecide(visited.page, person);
  await shown(visited.page, 'You are signed in as Ada Lovelace.');
  return visited;
}

async function sessionOf({ context }: Visit): Promise<string> {
  return (await context.cookies(origin)).find(({ name }) => name === 'session')?.value ?? '';
}

/** A request of a program, which sends whatever it likes. */
const call = (path: string, { session = '', method = 'GET', headers = { 'x-requested-by': 'page' } } = {}) =>
  fetch(`${origin}${path}`, { method, headers: { ...headers, cookie: `session=${session}` }, redirect: 'manual' });

describe('a person', () => {
  test('signs in, and the page has their data and never a token', async () => {
    const visited = await visit(browser);
    const { context, page } = visited;
    const received: Promise<string>[] = [];
    const addresses: string[] = [];
    page.on('response', (response) => {
      if (!response.url().startsWith(origin)) return;
      received.push(
        response.text().catch(() => ''),
        response.allHeaders().then(JSON.stringify),
      );
    });
    page.on('framenavigated', (frame) => addresses.push(frame.url()));
    await page.goto(origin);
    await page.click('text=Sign in');
    await signInAndDecide(page, person);
    await shown(page, 'You are signed in as Ada Lovelace.');
    await page.click('text=Ask the API');
    await shown(page, `"sub": "${person.account.id}"`);

    const token = tokensSeen.at(-1) ?? '';
    expect(token).toMatch(/^eyJ/);
    const all = [...(await Promise.all(received)), ...addresses, await page.content()].join('\n');
    expect(all).toContain(person.account.id);
    expect(all).not.toContain(token);
    expect(all).not.toMatch(/eyJ[\w-]+\.|refresh_token|access_token/);
    // Written as text: the page's functions are not of this program.
    const kept = 'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])';
    expect(await page.evaluate(kept)).toBe('[{},{},""]');
    expect(await page.evaluate('indexedDB.databases()')).toEqual([]);
    // Nor does the code stay in an address that Back leads to.
    expect(addresses.filter((address) => address.startsWith(origin))).toEqual([`${origin}/`, `${origin}/`]);
    expect((await context.cookies(origin)).map(({ name }) => name)).toEqual(['session']);
    expect(visited.complaints).toEqual([expect.stringContaining('401')]);
    await context.close();
  });

  test('has a cookie that no script reads and no other site has sent', async () => {
    const visited = await signedIn();
    expect(await visited.context.cookies(origin)).toEqual([
      expect.objectContaining({ name: 'session', httpOnly: true, sameSite: 'Strict', path: '/', expires: -1 }),
    ]);
    await visited.context.close();
    // Over https it is bound to this very host, too.
    const port = String(await freePort());
    const secure = await start({ PORT: port, ORIGIN: 'https://notes.example.com' });
    const response = await fetch(`${secure.address}/sign-in`, { redirect: 'manual' });
    expect(response.headers.get('set-cookie')).toMatch(
      /^__Host-sign-in=[^;]+; Max-Age=600; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/,
    );
    await secure.stop();
  });

  test('is still signed in where a link from elsewhere leads here', async () => {
    const visited = await signedIn();
    evilPage = `<a href="${origin}/">Notes</a>`;
    await visited.page.goto(evil.origin.replace('127.0.0.1', 'localhost'));
    await visited.page.click('text=Notes');
    await shown(visited.page, 'You are signed in as Ada Lovelace.');
    await visited.context.close();
  });

  test('who denies it is told so', async () => {
    const { context, page } = await visit(browser);
    await page.goto(origin);
    await page.click('text=Sign in');
    await signInAndDecide(page, person, 'deny');
    await shown(page, 'You did not allow it, so that you are not signed in.');
    expect(page.url()).toBe(`${origin}/`);
    await context.close();
  });

  test('who signs out leaves nothing that is worth anything', async () => {
    const visited = await signedIn();
    const { context, page } = visited;
    const session = await sessionOf(visited);
    await page.click('text=Ask the API');
    await shown(page, `"sub"`);
    const token = tokensSeen.at(-1) ?? '';
    expect((await introspect(server.issuer, apiClient, token)).body.active).toBe(true);
    await page.click('text=Sign out');
    await page.waitForURL(`${server.issuer}/logout?**`);
    expect(page.url()).not.toContain('id_token_hint');
    await page.click('button[value=yes], button[type=submit]');
    await shown(page, 'You are not signed in.');
    expect((await call('/api/session', { session })).status).toBe(401);
    expect((await introspect(server.issuer, apiClient, token)).body).toEqual({ active: false });
    expect(await context.cookies(origin)).toEqual([]);
    await context.close();
  });
});

describe('another site', () => {
  const forged = (method: string) =>
    `<form method="${method}" action="${origin}/api/sign-out"><button>Win</button></form>`;

  test.each(['127.0.0.1', 'localhost'])('on %s can’t post in a person’s name', async (host) => {
    const visited = await signedIn();
    const { page } = visited;
    evilPage = forged('post');
    await page.goto(evil.origin.replace('127.0.0.1', host));
    const answer = page.waitForResponse(`${origin}/api/sign-out`);
    await page.click('text=Win');
    expect((await answer).status()).toBe(403);
    expect((await call('/api/session', { session: await sessionOf(visited) })).status).toBe(200);
    await visited.context.close();
  });

  test.each(['127.0.0.1', 'localhost'])('on %s can neither send the header nor read an answer', async (host) => {
    const visited = await signedIn();
    const { page } = visited;
    evilPage = 'nothing to see';
    await page.goto(evil.origin.replace('127.0.0.1', host));
    for (const headers of ["{ 'X-Requested-By': 'page' }", '{}']) {
      for (const [method, path] of [
        ['POST', '/api/sign-out'],
        ['GET', '/api/session'],
      ]) {
        const attempt = `fetch('${origin}${path}', { method: '${method}', headers: ${headers}, credentials: 'include' })
          .then((response) => response.text(), (error) => error.name)`;
        expect(await page.evaluate(attempt)).toBe('TypeError');
      }
    }
    expect((await call('/api/session', { session: await sessionOf(visited) })).status).toBe(200);
    await visited.context.close();
  });

  test('can’t sign a person in as somebody else', async () => {
    // The attacker signs in, and keeps the code. What they send the browser to is up to them, whatever they left out.
    const attacker = await createTestAccount(server.domains);
    const request = {
      redirect_uri: `${origin}/callback`,
      scope: `openid ${SCOPE}`,
      resource: AUDIENCE,
      prompt: 'consent',
    };
    const none = { state: undefined, nonce: undefined, code_challenge: undefined, code_challenge_method: undefined };
    for (const parameters of [request, { ...request, ...none }]) {
      const answer = await authorize(
        new Person(),
        authorizationRequest(server.issuer, client.id, parameters),
        attacker,
      );
      expect(answer.searchParams.get('code')).not.toBeNull();
      const { context, page } = await visit(browser);
      await page.goto(answer.href);
      await shown(page, 'That did not work. Sign in again.');
      // Nor where the person has begun a sign-in of their own.
      await page.goto(`${origin}/sign-in`);
      await page.goto(answer.href);
      await shown(page, 'That did not work. Sign in again.');
      expect(await context.cookies(origin)).toEqual([]);
      await context.close();
    }
  });

  test('can’t choose the session that a person will have', async () => {
    const visited = await visit(browser);
    const { context, page } = visited;
    await context.addCookies([{ name: 'session', value: 'chosen', url: origin }]);
    await page.goto(origin);
    await page.click('text=Sign in');
    await signInAndDecide(page, person);
    await shown(page, 'You are signed in as Ada Lovelace.');
    expect(await sessionOf(visited)).toMatch(/^[\w-]{43}$/);
    expect((await call('/api/session', { session: 'chosen' })).status).toBe(401);
    await context.close();
  });

  test('can’t show the page in a frame, nor have it run other scripts', async () => {
    const policy = (await fetch(origin)).headers.get('content-security-policy') ?? '';
    expect(policy.split(';')).toEqual(
      expect.arrayContaining([
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
      ]),
    );
  });
});

describe('an access token', () => {
  const refreshes = () => log.lines.filter(({ endpoint }) => endpoint === 'token').length;

  test('that ends is replaced once by requests at the same time', async () => {
    await restart({ RENEW_BEFORE_SECONDS: '120' });
    await server.domains.apis.update(AUDIENCE, { ttlSeconds: 60 });
    const visited = await signedIn();
    await server.domains.apis.update(AUDIENCE, { ttlSeconds: TTL_SECONDS });
    const session = await sessionOf(visited);
    const before = refreshes();
    tokensSeen.length = 0;
    const answers = await Promise.all(Array.from({ length: 8 }, () => call('/api/profile', { session })));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(new Set(tokensSeen).size).toBe(1);
    expect(refreshes() - before).toBe(1);
    await visited.context.close();
    await restart();
  });

  test('that can’t be replaced any more ends the session', async () => {
    await restart({ RENEW_BEFORE_SECONDS: '600' });
    const visited = await signedIn();
    const session = await sessionOf(visited);
    await server.domains.endAccess({ accountId: person.account.id });
    await visited.page.click('text=Ask the API');
    await shown(visited.page, 'Your session has ended. Sign in again.');
    expect((await call('/api/session', { session })).status).toBe(401);
    await visited.context.close();
    await restart();
  });

  test('that came without a refresh token is as long as the session', async () => {
    const metadata = {
      grant_types: ['authorization_code'],
      redirect_uris: [`${origin}/callback`],
      scope: `openid ${SCOPE}`,
    };
    const short = await createTestClient(server.domains, { metadata });
    await restart({ CLIENT_ID: short.id, CLIENT_SECRET: short.secret, RENEW_BEFORE_SECONDS: String(TTL_SECONDS) });
    const visited = await signedIn();
    await visited.page.click('text=Ask the API');
    await shown(visited.page, 'Your session has ended. Sign in again.');
    await visited.context.close();
    await restart();
  });

  test('that the API refuses ends the session', async () => {
    const visited = await signedIn();
    const session = await sessionOf(visited);
    await server.domains.endAccess({ accountId: person.account.id });
    await visited.page.click('text=Ask the API');
    await shown(visited.page, 'Your session has ended. Sign in again.');
    expect((await call('/api/session', { session })).status).toBe(401);
    await visited.context.close();
  });
});

test('an API that is away ends nobody’s session', async () => {
  await restart({ API_URL: 'http://127.0.0.1:9' });
  const visited = await signedIn();
  await visited.page.click('text=Ask the API');
  await shown(visited.page, 'try again in a moment');
  expect((await call('/api/session', { session: await sessionOf(visited) })).status).toBe(200);
  await visited.context.close();
  await restart();
});

walkthrough('examples/backend-for-frontend/README.md');
