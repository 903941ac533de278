import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page, Response as PageResponse } from 'playwright-core';
import { type HttpServer, startHttpServer } from '../browser/http-server.ts';
import { launchBrowser, type Visit, visit } from '../harness/browser.ts';
import { makeProofKeyPair, proofOf } from '../harness/dpop.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../harness/factories.ts';
import { authorizationRequest, authorize } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { freePort } from '../harness/process.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { introspect, serviceToken } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { signInAndDecide } from './at-the-issuer.ts';
import { type InstalledExample, installExample, type RunningProgram } from './example-program.ts';
import { walkthrough } from './walkthrough.ts';

const AUDIENCE = 'https://notes.example.com';
const OTHER_AUDIENCE = 'https://other.example.com';
const SCOPE = 'notes:read';
const TTL_SECONDS = 600;
/** Two seconds after they were issued, tokens are about to expire. */
const AT_ONCE = { RENEW_BEFORE_SECONDS: String(TTL_SECONDS - 2) };

let server: TestServer;
let browser: Browser;
let example: InstalledExample;
let service: TestClient;
let evil: HttpServer;

/** A page and its API. `origin` is on the site of the issuer, `foreignOrigin` is the same page on a site of its own. */
type App = { origin: string; foreignOrigin: string; api: RunningProgram; client: TestClient };
let app: App;
let boundApp: App;

beforeAll(async () => {
  [server, browser, example, evil] = await Promise.all([
    startTestServer(),
    launchBrowser(),
    installExample({
      name: 'single-page-app',
      install: [['npm', 'ci', '--no-audit', '--no-fund']],
      command: [process.execPath, 'server.js'],
    }),
    startHttpServer(() => ({ body: 'nothing to see' })),
  ]);
  const { domains } = server;
  for (const identifier of [AUDIENCE, OTHER_AUDIENCE]) {
    await createTestApi(domains, {
      identifier,
      scopes: [SCOPE, 'notes:write'],
      tokenFormat: 'jwt',
      ttlSeconds: TTL_SECONDS,
    });
  }
  service = await createServiceClient(domains, `${SCOPE} notes:write`);
  await domains.apis.update(AUDIENCE, { introspectionClientIds: [service.id] });
  app = await startApp();
  boundApp = await startApp({ DPOP: 'true' });
}, 240_000);
afterAll(async () => {
  await Promise.all([browser?.close(), example?.remove(), evil?.close()]);
  await server?.close();
});

async function startApp(settings: Record<string, string> = {}): Promise<App> {
  const [port, apiPort] = [String(await freePort()), String(await freePort())];
  const origins = [`http://localhost:${port}`, `http://127.0.0.1:${port}`] as const;
  const client = await createTestClient(server.domains, {
    metadata: {
      token_endpoint_auth_method: 'none',
      redirect_uris: origins.flatMap((origin) => [`${origin}/callback`, `${origin}/renewed.html`]),
      post_logout_redirect_uris: origins.map((origin) => `${origin}/`),
      scope: `openid offline_access ${SCOPE}`,
    },
    allowedOrigins: [...origins],
  });
  const both = {
    ISSUER: server.issuer,
    AUDIENCE,
    API_SCOPE: SCOPE,
    API_URL: `http://localhost:${apiPort}`,
    ...settings,
  };
  const api = await example.start({ ...both, PORT: apiPort, PAGE_ORIGIN: origins.join(',') }, [
    process.execPath,
    'api.js',
  ]);
  await example.start({ ...both, PORT: port, CLIENT_ID: client.id });
  return { origin: origins[0], foreignOrigin: origins[1], api, client };
}

const shown = (page: Page, text: string) => page.getByText(text).first().waitFor();

type SignedIn = Visit & {
  /** What every token request of the page was answered with, newest last. */
  tokens: Record<string, string>[];
  /** What those requests asked for. */
  asked: URLSearchParams[];
  /** Every address that a window or frame went to. */
  addresses: string[];
};

/** Somebody new, who has allowed nothing before. */
const createPerson = () => createTestAccount(server.domains, { name: 'Ada Lovelace' });

async function open(origin: string): Promise<SignedIn> {
  const visited = await visit(browser);
  const signedIn: SignedIn = { ...visited, tokens: [], asked: [], addresses: [] };
  const keep = async (response: PageResponse) => {
    if (new URL(response.url()).pathname !== '/token' || response.request().method() !== 'POST') return;
    if (response.status() !== 200) return;
    signedIn.tokens.push((await response.json()) as Record<string, string>);
    signedIn.asked.push(new URLSearchParams(response.request().postData() ?? ''));
  };
  visited.context.on('response', (response) => void keep(response).catch(() => undefined));
  visited.context.on('request', (request) => signedIn.addresses.push(request.url()));
  await visited.page.goto(origin);
  return signedIn;
}

async function signIn(origin: string): Promise<SignedIn & { accountId: string }> {
  const signedIn = await open(origin);
  const person = await createPerson();
  await signedIn.page.click('#sign-in');
  await signInAndDecide(signedIn.page, person);
  await shown(signedIn.page, 'You are signed in as Ada Lovelace.');
  // The page has its tokens; this program is told of them beside it.
  await until('its tokens are seen', () => signedIn.tokens.length > 0);
  return { ...signedIn, accountId: person.account.id };
}

async function callApi({ page, accountId }: { page: Page; accountId: string }): Promise<void> {
  await page.click('#call');
  await shown(page, `"sub": "${accountId}"`);
}

/** All that the browser keeps for the page, as text. The page's functions are not of this program: they are written as text. */
const KEPT = `JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state])`;

const VARIANTS = [
  { name: 'bearer tokens', which: () => app, type: 'Bearer' },
  { name: 'tokens bound to a key of the browser', which: () => boundApp, type: 'DPoP' },
];

describe.each(VARIANTS)('a page with $name', ({ which, type }) => {
  test('signs a person in, calls its API, and leaves no token where it could be found', async () => {
    const { origin } = which();
    const signedIn = await signIn(origin);
    const { context, page, tokens, addresses, complaints } = signedIn;
    await callApi(signedIn);
    expect(tokens.at(-1)?.token_type).toBe(type);
    const values = tokens.flatMap(({ access_token = '', id_token = '' }) => [access_token, id_token]);
    expect(values.length).toBeGreaterThan(1);
    const kept = String(await page.evaluate(KEPT));
    for (const value of values) expect([kept, ...addresses].join('\n')).not.toContain(value);
    // Not even what was there on the way has stayed.
    expect(JSON.parse(kept)).toEqual([{}, {}, '', `${origin}/`, null]);
    // Back leads to no code.
    await page.goBack();
    expect(page.url()).not.toContain('code=');
    // A nonce is had by a first refusal.
    expect(complaints.filter((complaint) => !complaint.includes('400 (Bad Request)'))).toEqual([]);
    await context.close();
  });

  test('renews tokens in a hidden frame, on the site of the issuer', async () => {
    const renewing = await startApp({ ...AT_ONCE, DPOP: String(type === 'DPoP') });
    const signedIn = await signIn(renewing.origin);
    const { context, page, tokens, addresses } = signedIn;
    const first = tokens.at(-1)?.access_token;
    await until('the tokens are renewed', () => tokens.at(-1)?.access_token !== first);
    expect(addresses.some((address) => address.startsWith(`${renewing.origin}/renewed.html?code=`))).toBe(true);
    await callApi(signedIn);
    expect(page.url()).toBe(`${renewing.origin}/`);
    await context.close();
  });

  test('knows after a reload who is signed in at the issuer', async () => {
    const signedIn = await signIn(which().origin);
    const { context, page } = signedIn;
    await page.reload();
    await shown(page, 'You are signed in as Ada Lovelace.');
    await callApi(signedIn);
    await context.close();
  });

  test('signs out at both, and ends the tokens', async () => {
    const { origin } = which();
    const { context, page, tokens, addresses } = await signIn(origin);
    const token = tokens.at(-1)?.access_token ?? '';
    expect((await introspect(server.issuer, service, token)).body.active).toBe(true);
    await page.click('#sign-out');
    await page.waitForURL(`${server.issuer}/logout?**`);
    // Whatever the person answers there.
    expect((await introspect(server.issuer, service, token)).body).toEqual({ active: false });
    await page.click('button[type=submit]');
    await shown(page, 'You are not signed in.');
    expect(addresses.filter((address) => address.includes('/logout?'))).toEqual([
      `${server.issuer}/logout?${new URLSearchParams({ client_id: which().client.id, post_logout_redirect_uri: `${origin}/` })}`,
    ]);
    await page.reload();
    await shown(page, 'You are not signed in.');
    await context.close();
  });
});

describe('a page on another site than the issuer', () => {
  test('sends the person to the issuer after a reload, who asks for no password', async () => {
    const signedIn = await signIn(app.foreignOrigin);
    const { context, page } = signedIn;
    await callApi(signedIn);
    await page.reload();
    await shown(page, 'You are not signed in.');
    await page.click('#sign-in');
    await shown(page, 'You are signed in as Ada Lovelace.');
    await context.close();
  });

  test('renews by refresh tokens, each used once and none of them kept', async () => {
    const renewing = await startApp({ ...AT_ONCE, REFRESH_TOKENS: 'true' });
    const signedIn = await signIn(renewing.foreignOrigin);
    const { context, page, tokens, asked } = signedIn;
    await until('the tokens are renewed twice', () => asked.length > 2);
    expect(asked.slice(1).map((request) => [request.get('grant_type'), request.get('resource')])).toEqual(
      asked.slice(1).map(() => ['refresh_token', AUDIENCE]),
    );
    await callApi(signedIn);
    const values = tokens.map(({ refresh_token }) => refresh_token ?? '');
    expect(values).not.toContain('');
    expect(new Set(values).size).toBe(values.length);
    const kept = String(await page.evaluate(KEPT));
    for (const value of values) expect(kept).not.toContain(value);
    await context.close();
  });
});

describe('the key that tokens are bound to', () => {
  test('can be used in the browser and not be read', async () => {
    const { context, page, tokens } = await signIn(boundApp.origin);
    const readKeys = `new Promise((resolve) => { indexedDB.open('oidc').onsuccess = ({ target }) => {
      const all = target.result.transaction('dpop').objectStore('dpop').getAll();
      all.onsuccess = () => resolve(all.result); }; })`;
    const attempt = `${readKeys}.then(([{ keys }]) => crypto.subtle.exportKey('jwk', keys.privateKey))
      .then(() => 'read', (error) => error.name)`;
    expect(await page.evaluate(attempt)).toBe('InvalidAccessError');
    // So that a token alone is worth nothing, nor with another key.
    const token = tokens.at(-1)?.access_token ?? '';
    const url = `${boundApp.api.address.replace('127.0.0.1', 'localhost')}/profile`;
    const proof = await proofOf(await makeProofKeyPair(), { htu: url, htm: 'GET', accessToken: token });
    for (const headers of [
      { authorization: `Bearer ${token}` },
      { authorization: `DPoP ${token}` },
      { authorization: `DPoP ${token}`, dpop: proof },
    ]) {
      const response = await fetch(url, { headers });
      expect({ status: response.status, challenge: response.headers.get('www-authenticate') }).toEqual({
        status: 401,
        challenge: 'DPoP error="invalid_token"',
      });
    }
    await context.close();
  });

  test('is wanted of every token', async () => {
    const unbound = await serviceToken(server.issuer, service, { resource: AUDIENCE, scope: SCOPE });
    expect(await profile(boundApp, unbound)).toMatchObject({ status: 401 });
  });
});

async function profile({ api }: App, token?: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${api.address}/profile`, {
    headers: { ...headers, ...(token && { authorization: `Bearer ${token}` }) },
  });
  return {
    status: response.status,
    challenge: response.headers.get('www-authenticate'),
    readableBy: response.headers.get('access-control-allow-origin'),
  };
}

test('the API takes tokens that are for it and have its scope', async () => {
  const token = (resource: string, scope: string) => serviceToken(server.issuer, service, { resource, scope });
  expect(await profile(app, await token(AUDIENCE, SCOPE))).toMatchObject({ status: 200 });
  expect(await profile(app)).toMatchObject({ status: 401, challenge: 'Bearer' });
  expect(await profile(app, await token(OTHER_AUDIENCE, SCOPE))).toMatchObject({
    status: 401,
    challenge: 'Bearer error="invalid_token"',
  });
  expect(await profile(app, 'no.such.token')).toMatchObject({ status: 401 });
  expect(await profile(app, await token(AUDIENCE, 'notes:write'))).toMatchObject({
    status: 403,
    challenge: `Bearer error="insufficient_scope", scope="${SCOPE}"`,
  });
});

describe('another page', () => {
  test('can’t read what the API answers', async () => {
    const token = await serviceToken(server.issuer, service, { resource: AUDIENCE, scope: SCOPE });
    expect((await profile(app, token, { origin: app.origin })).readableBy).toBe(app.origin);
    expect((await profile(app, token, { origin: evil.origin })).readableBy).toBeNull();
  });

  test('can’t sign a person in as somebody else', async () => {
    const request = { redirect_uri: `${app.origin}/callback`, scope: `openid ${SCOPE}`, resource: AUDIENCE };
    const answer = await authorize(
      new Person(),
      authorizationRequest(server.issuer, app.client.id, request),
      await createTestAccount(server.domains),
    );
    expect(answer.searchParams.get('code')).not.toBeNull();
    const { context, page } = await visit(browser);
    await page.goto(answer.href);
    await shown(page, 'That did not work. Sign in again.');
    await context.close();
  });

  test('can’t be told anything by a script that was smuggled in, nor show the page in a frame', async () => {
    const { context, page, complaints } = await open(app.origin);
    await shown(page, 'You are not signed in.');
    const tell = `fetch('${evil.origin}/?token').then(() => 'told', (error) => error.name)`;
    expect(await page.evaluate(tell)).toBe('TypeError');
    expect(complaints.join('\n')).toContain(`Connecting to '${evil.origin}/?token' violates`);
    const sink = `try { document.body.innerHTML = '<img src=x onerror=alert(1)>'; 'ran' } catch (error) { error.name }`;
    expect(await page.evaluate(sink)).toBe('TypeError');
    const ancestors = async (path: string) =>
      /frame-ancestors ([^;]+)/.exec(
        (await fetch(app.origin + path)).headers.get('content-security-policy') ?? '',
      )?.[1];
    expect(await Promise.all(['/', '/callback', '/renewed.html'].map(ancestors))).toEqual([
      "'none'",
      "'none'",
      "'self'",
    ]);
    await context.close();
  });
});

test('who denies it is told so', async () => {
  const { context, page } = await open(app.origin);
  await page.click('#sign-in');
  await signInAndDecide(page, await createTestAccount(server.domains), 'deny');
  await shown(page, 'You did not allow it, so that you are not signed in.');
  expect(page.url()).toBe(`${app.origin}/`);
  await context.close();
});

walkthrough('examples/single-page-app/README.md');
