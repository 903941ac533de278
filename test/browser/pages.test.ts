import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, type Visit, visit } from '../harness/browser.ts';
import {
  createTestAccount,
  createTestApi,
  createTestClient,
  PASSWORD,
  type TestClient,
  unique,
} from '../harness/factories.ts';
import { authorizationRequest } from '../harness/flows.ts';
import { payment, paymentType } from '../harness/payments.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { type HttpServer, startHttpServer } from './http-server.ts';
import { layoutFaults, pageFaults } from './page-faults.ts';

/** A square picture, for a logo that comes from somewhere else. */
const LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path fill="#06c" d="M0 0h8v8H0z"/></svg>';
/** As wide as a name gets, with a word that no line has room for. */
const LONG_NAME = 'Donaudampfschifffahrtsgesellschaftskapitänskajütenschlüsselverwaltung for Families and Friends';
const OPENID_SCOPE = 'openid profile email address phone offline_access';

let server: TestServer;
let browser: Browser;
let app: HttpServer;
beforeAll(async () => {
  [server, browser, app] = await Promise.all([startTestServer(), launchBrowser(), startHttpServer(() => ({}))]);
});
afterAll(() => Promise.all([browser.close(), server.close(), app.close()]));

/** A visitor whose browser finds the logo, which is far away. */
async function newVisit(locale = 'en'): Promise<Visit> {
  const visitor = await visit(browser, { locale });
  await visitor.context.route('https://app.example.com/logo.svg', (route) =>
    route.fulfill({ contentType: 'image/svg+xml', body: LOGO }),
  );
  return visitor;
}

function createClient(metadata: Record<string, unknown> = {}): Promise<TestClient> {
  return createTestClient(server.domains, {
    metadata: {
      client_name: LONG_NAME,
      redirect_uris: [`${app.origin}/callback`],
      logo_uri: 'https://app.example.com/logo.svg',
      client_uri: 'https://app.example.com/',
      policy_uri: 'https://app.example.com/privacy',
      tos_uri: 'https://app.example.com/terms',
      ...metadata,
    },
  });
}

const request = (clientId: string, parameters: Record<string, string> = {}) =>
  authorizationRequest(server.issuer, clientId, { redirect_uri: `${app.origin}/callback`, ...parameters }).url;

async function signIn(page: Page, login: string, password: string = PASSWORD): Promise<void> {
  await page.fill('input[name=login]', login);
  await page.fill('input[name=password]', password);
  await page.click('button[type=submit]');
}

/** Signs a person in for a client that they have allowed its scope. */
async function signedIn(page: Page, clientId: string, login: string, scope: string): Promise<void> {
  await page.goto(request(clientId, { scope }));
  await signIn(page, login);
  await page.click('button[value=allow]');
  await page.waitForURL(`${app.origin}/callback?**`);
}

/** English is looked at in every way, a translation for what is longer in it. */
const faultsIn = (locale: string) => (locale === 'en' ? pageFaults : layoutFaults);

const alertText = (page: Page) => page.textContent('[data-error-summary] h2');

describe('the sign-in page', () => {
  test.each(['en', 'de'])('has its hooks, and no faults, in %s', async (locale) => {
    const visitor = await newVisit(locale);
    const { page } = visitor;
    await page.goto(request((await createClient()).id));
    expect(await page.getAttribute('html', 'lang')).toBe(locale);
    expect(await page.locator('input[name=login]').count()).toBe(1);
    expect(await page.locator('input[name=password]').count()).toBe(1);
    expect(await page.locator('button[type=submit]').count()).toBe(1);
    expect(await faultsIn(locale)(visitor)).toEqual([]);
    await visitor.context.close();
  });

  test('shows the first letter of an app whose logo the content security policy would refuse', async () => {
    const { context, page, complaints } = await newVisit();
    await page.goto(request((await createClient({ logo_uri: `${app.origin}/logo.svg` })).id));
    expect(await page.textContent('.client__initial')).toBe('D');
    expect(complaints).toEqual([]);
    await context.close();
  });

  test.each(['en', 'de'])('has no faults with any of its errors, in %s', async (locale) => {
    const visitor = await newVisit(locale);
    const { page } = visitor;
    await page.goto(request((await createClient({ logo_uri: undefined })).id));
    const said = new Set<string | null>();
    const hasNoFaults = async () => {
      expect(await page.locator('button[type=submit]').count()).toBe(1);
      expect(await faultsIn(locale)(visitor)).toEqual([]);
      said.add(await alertText(page));
    };
    await page.click('button[type=submit]');
    await hasNoFaults();
    const login = `${unique('nobody')}@example.com`;
    await signIn(page, login, 'wrong');
    await hasNoFaults();
    for (let attempts = 1; attempts <= 5; attempts += 1) await signIn(page, login, 'wrong');
    await hasNoFaults();
    expect(said.size).toBe(3);
    await visitor.context.close();
  });
});

describe('the consent page', () => {
  test.each(['en', 'de'])('has no faults with authorization details of every length, in %s', async (locale) => {
    const type = paymentType();
    await createTestApi(server.domains, { name: LONG_NAME, detailsTypes: [type] });
    const { id } = await createClient({ authorization_details_types: [type.type] });
    const { login } = await createTestAccount(server.domains);
    const visitor = await newVisit(locale);
    const { page } = visitor;
    const long = { creditor: 'x'.repeat(200), reference: '\u05e9\u05dc\u05d5\u05dd', isInstant: true };
    const details = [payment(type.type), payment(type.type, '999999999.00', { ...long, invoices: [{ number: 'A1' }] })];
    await page.goto(request(id, { authorization_details: JSON.stringify(details) }));
    await signIn(page, login);
    expect(await page.locator('[data-details]').count()).toBe(2);
    expect(await faultsIn(locale)(visitor)).toEqual([]);
    await visitor.context.close();
  });

  test.each(['en', 'de'])('has two decisions, and no faults, whatever it asks, in %s', async (locale) => {
    const { domains } = server;
    const api = await createTestApi(domains, {
      name: 'Rechnungsverwaltung und Bankverbindungen',
      scopes: [
        { scope: unique('invoices:read'), description: 'Read your invoices' },
        // Without a description its name must do.
        unique('invoices:an-unusually-long-name-of-a-scope-that-nobody-described-in-any-words-at-all'),
      ],
    });
    const [read = '', undescribed = ''] = api.scopes.map(({ scope }) => scope);
    const { id } = await createClient({ scope: `${OPENID_SCOPE} ${read} ${undescribed}` });
    const { login } = await createTestAccount(domains, { name: 'Ada Lovelace' });
    const visitor = await newVisit(locale);
    const { page } = visitor;
    const hasNoFaults = async () => {
      expect(await page.locator('button[name=decision][value=allow]').count()).toBe(1);
      expect(await page.locator('button[name=decision][value=deny]').count()).toBe(1);
      expect(await page.locator('button[name=decision]').count()).toBe(2);
      expect(await faultsIn(locale)(visitor)).toEqual([]);
    };

    await page.goto(request(id, { scope: `openid email ${read}`, resource: api.identifier }));
    await signIn(page, login);
    expect(await page.locator('.permissions--granted').count()).toBe(0);
    await hasNoFaults();
    await page.click('button[value=allow]');
    await page.waitForURL(`${app.origin}/callback?**`);

    const claims = JSON.stringify({ userinfo: { birthdate: { essential: true } } });
    const more = {
      scope: `${OPENID_SCOPE} ${read} ${undescribed}`,
      resource: api.identifier,
      prompt: 'consent',
      claims,
    };
    await page.goto(request(id, more));
    expect(await page.locator('.permissions--granted').count()).toBe(1);
    expect(await page.locator('.permissions').count()).toBe(3);
    await hasNoFaults();
    await page.click('button[value=allow]');
    await page.waitForURL(`${app.origin}/callback?**`);

    await page.goto(request(id, more));
    expect(await page.locator('.permissions').count()).toBe(1);
    await hasNoFaults();
    await visitor.context.close();
  });
});

describe('the sign-out pages', () => {
  test('have no faults, with and without somebody signed in', async () => {
    const client = await createClient({ post_logout_redirect_uris: [] });
    const { login } = await createTestAccount(server.domains);
    const visitor = await newVisit();
    const { page } = visitor;
    await page.goto(`${server.issuer}/logout`);
    expect(await pageFaults(visitor)).toEqual([]);

    await signedIn(page, client.id, login, 'openid');
    await page.goto(`${server.issuer}/logout?client_id=${client.id}`);
    expect(await page.textContent('main')).toContain(login);
    expect(await pageFaults(visitor)).toEqual([]);
    await page.click('button[name=logout][value=yes]');
    expect(await page.textContent('h1')).toBe('You are signed out');
    expect(await pageFaults(visitor)).toEqual([]);
    await visitor.context.close();
  });
});

describe('an error page', () => {
  const openers: Record<string, { code: string; open(visitor: Visit): Promise<unknown> }> = {
    'an unknown client': {
      code: 'invalid_client',
      open: ({ page }) => page.goto(request(unique('nobody'))),
    },
    'an address that the client never registered': {
      code: 'invalid_redirect_uri',
      open: async ({ page }) =>
        page.goto(request((await createClient()).id, { redirect_uri: 'https://evil.example.com/' })),
    },
    'a request without PKCE': {
      code: 'invalid_request',
      open: async ({ page }) => page.goto(`${server.issuer}/authorize?client_id=${(await createClient()).id}`),
    },
    'a sign-in that is over, whose app is known': {
      code: 'invalid_request',
      async open({ page, context }) {
        await page.goto(request((await createClient()).id));
        const uid = new URL(page.url()).pathname;
        await context.clearCookies({ name: 'tessera_interaction' });
        await page.goto(server.issuer + uid);
        expect(await page.getAttribute('.button--primary', 'href')).toBe('https://app.example.com/');
      },
    },
    'a sign-in that is over, in another browser': {
      code: 'invalid_request',
      open: ({ page }) => page.goto(`${server.issuer}/interaction/${unique('uid')}`),
    },
    'a form without its cookie': {
      code: 'csrf',
      async open({ page, context }) {
        await page.goto(request((await createClient()).id));
        await context.clearCookies({ name: 'tessera_csrf' });
        await signIn(page, 'somebody@example.com');
      },
    },
    'an address where nothing is': { code: 'not_found', open: ({ page }) => page.goto(`${server.issuer}/nothing`) },
  };

  test.each(Object.entries(openers))('for %s names its code, and has no faults', async (_title, { code, open }) => {
    for (const locale of ['en', 'de']) {
      const visitor = await newVisit(locale);
      await open(visitor);
      expect(await visitor.page.getAttribute('[data-error]', 'data-error')).toBe(code);
      await visitor.page.click('summary');
      expect(await faultsIn(locale)(visitor)).toEqual([]);
      await visitor.context.close();
    }
  });
});
