import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, visit } from '../harness/browser.ts';
import { createTestAccount, unique } from '../harness/factories.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { until } from '../harness/until.ts';
import { wideElements } from './page-faults.ts';
import { startThirdPartyApp, type ThirdPartyApp } from './third-party-app.ts';

const NAME = 'Ada Lovelace';

let server: TestServer;
let browser: Browser;
let app: ThirdPartyApp;
beforeAll(async () => {
  [server, browser] = await Promise.all([startTestServer(), launchBrowser()]);
  app = await startThirdPartyApp(server, { scope: 'openid profile' });
});
afterAll(() => Promise.all([browser.close(), server.close(), app.close()]));

const newPerson = () => createTestAccount(server.domains, { name: NAME });

async function fillIn(page: Page, { login, password }: { login: string; password: string }): Promise<void> {
  await page.fill('input[name=login]', login);
  await page.fill('input[name=password]', password);
}

/** From the sign-in page to the app, by way of consent. */
async function finish(page: Page, person: { login: string; password: string }): Promise<void> {
  await fillIn(page, person);
  await page.click('button[type=submit]');
  await page.click('button[value=allow]');
  await page.waitForURL(`${app.origin}/`);
}

const focused = (page: Page) => page.locator(':focus');
describe('without JavaScript', () => {
  test('a person gets an error, signs in, allows, and signs out again', async () => {
    const { context, page } = await visit(browser, { javaScriptEnabled: false });
    const person = await newPerson();
    await page.goto(`${app.origin}/login`);
    await page.click('button[type=submit]');
    expect(await page.locator('[data-error-summary]').isVisible()).toBe(true);
    expect(await page.locator('[data-show-password]').isVisible()).toBe(false);
    await finish(page, person);
    expect(await page.textContent('#name')).toBe(NAME);
    await page.goto(`${app.origin}/logout`);
    await page.click('button[name=logout][value=yes]');
    await page.waitForURL(`${app.origin}/signed-out?state=bye`);
    await context.close();
  });
});

describe('by keyboard alone', () => {
  test('a person signs in and allows, and always sees where they are', async () => {
    const { context, page, complaints } = await visit(browser);
    const person = await newPerson();
    const { keyboard } = page;
    const isFocusVisible = () =>
      page.evaluate<boolean>(`(() => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        return outlineStyle === 'solid' && Number.parseFloat(outlineWidth) >= 2;
      })()`);
    const tabTo = async (selector: string) => {
      for (let presses = 0; presses < 12; presses += 1) {
        await keyboard.press('Tab');
        expect(await isFocusVisible()).toBe(true);
        if ((await page.locator(`${selector}:focus`).count()) === 1) return;
      }
      throw new Error(`no way to ${selector} by keyboard`);
    };

    await page.goto(`${app.origin}/login`);
    expect(await focused(page).getAttribute('name')).toBe('login');
    await keyboard.type(person.login);
    await tabTo('input[name=password]');
    await keyboard.type(person.password);
    await keyboard.press('Enter');
    await page.waitForSelector('button[name=decision]');
    await tabTo('button[value=allow]');
    await tabTo('button[value=deny]');
    await keyboard.press('Shift+Tab');
    await keyboard.press('Enter');
    await page.waitForURL(`${app.origin}/`);
    expect(await page.textContent('#name')).toBe(NAME);
    expect(complaints).toEqual([]);
    await context.close();
  });
});

describe('after a wrong password', () => {
  test.each([true, false])(
    'the summary has the focus, the login is kept and the password is not (JavaScript: %s)',
    async (javaScriptEnabled) => {
      const { context, page } = await visit(browser, { javaScriptEnabled });
      const login = `${unique('somebody')}@example.com`;
      await page.goto(`${app.origin}/login`);
      await fillIn(page, { login, password: 'not the password' });
      await page.click('button[type=submit]');
      await page.waitForSelector('[data-error-summary]');
      expect(await focused(page).getAttribute('data-error-summary')).toBe('');
      expect(await page.inputValue('input[name=login]')).toBe(login);
      expect(await page.inputValue('input[name=password]')).toBe('');
      expect(await page.content()).not.toContain('not the password');
      expect(await page.title()).toBe('Error: Sign in · Tessera');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      expect(await focused(page).getAttribute('name')).toBe('login');
      await context.close();
    },
  );
});

describe('with JavaScript', () => {
  test('a password is shown on demand, and is hidden again before it is sent', async () => {
    const { context, page, complaints } = await visit(browser);
    await page.goto(`${app.origin}/login`);
    const password = page.locator('input[name=password]');
    await fillIn(page, { login: 'somebody@example.com', password: 'a secret' });
    await page.getByRole('button', { name: 'Show password' }).click();
    expect(await password.getAttribute('type')).toBe('text');
    expect(await password.inputValue()).toBe('a secret');
    await page.getByRole('button', { name: 'Hide password' }).click();
    expect(await password.getAttribute('type')).toBe('password');
    await page.getByRole('button', { name: 'Show password' }).click();
    // An answer without content leaves the browser where it is.
    await page.route('**/sign-in', (route) => route.fulfill({ status: 204 }));
    await page.click('button[type=submit]');
    await until('the password is hidden', async () => (await password.getAttribute('type')) === 'password');
    expect(complaints).toEqual([]);
    await context.close();
  });
});

describe('a form sent twice', () => {
  test.each([
    { javaScriptEnabled: true, posts: 1 },
    { javaScriptEnabled: false, posts: 2 },
  ])('signs in once, and one code goes to the app (JavaScript: $javaScriptEnabled)', async (rule) => {
    const { context, page, complaints } = await visit(browser, { javaScriptEnabled: rule.javaScriptEnabled });
    const person = await newPerson();
    const before = app.callbacks();
    const answered = Promise.withResolvers<void>();
    const sentAgain = Promise.withResolvers<void>();
    let posts = 0;
    // The server has answered the first, and the browser has not heard it yet when the person clicks again.
    await page.route('**/sign-in', async (route) => {
      posts += 1;
      if (posts > 1) return route.continue();
      const response = await route.fetch({ maxRedirects: 0 });
      answered.resolve();
      await sentAgain.promise;
      // Refused where the second request has taken the place of the first.
      await route.fulfill({ response }).catch(() => undefined);
    });
    await page.goto(`${app.origin}/login`);
    await fillIn(page, person);
    // By the mouse itself: a click on an element would wait for the first answer.
    const button = await page.locator('button[type=submit]').boundingBox();
    const click = () => page.mouse.click((button?.x ?? 0) + 20, (button?.y ?? 0) + 20);
    await click();
    await answered.promise;
    await click();
    await until('all are posted', () => posts === rule.posts);
    sentAgain.resolve();
    await page.dblclick('button[value=allow]');
    await page.waitForURL(`${app.origin}/`);
    expect(await page.textContent('#name')).toBe(NAME);
    expect({ posts, callbacks: app.callbacks() - before }).toEqual({ posts: rule.posts, callbacks: 1 });
    expect(complaints).toEqual([]);
    await context.close();
  });
});

describe('a person', () => {
  test('who goes back from the app finds no form to send again, and the way on', async () => {
    const { context, page } = await visit(browser);
    await page.goto(`${app.origin}/login`);
    await finish(page, await newPerson());
    await page.goBack();
    expect(await page.textContent('h1')).toBe('This sign-in is no longer open');
    expect(await page.locator('form').count()).toBe(0);
    await page.click('a.button--primary');
    await page.waitForURL(`${app.origin}/`);
    expect(await page.textContent('#name')).toBe(NAME);
    await context.close();
  });

  test('who goes back from consent is not asked for the password again', async () => {
    const { context, page } = await visit(browser);
    await page.goto(`${app.origin}/login`);
    await fillIn(page, await newPerson());
    await page.click('button[type=submit]');
    await page.waitForSelector('button[name=decision]');
    await page.goBack();
    expect(await page.textContent('h1')).toBe('This sign-in is no longer open');
    await page.goForward();
    await page.click('button[value=allow]');
    await page.waitForURL(`${app.origin}/`);
    expect(await page.textContent('#name')).toBe(NAME);
    await context.close();
  });

  test('signs in in two tabs at once, and both reach the app', async () => {
    const { context, page: one } = await visit(browser);
    const other = await context.newPage();
    const person = await newPerson();
    await one.goto(`${app.origin}/login`);
    await other.goto(`${app.origin}/login`);
    const before = app.callbacks();
    await finish(one, person);
    await fillIn(other, person);
    await other.click('button[type=submit]');
    await Promise.race([other.waitForURL(`${app.origin}/`), other.waitForSelector('button[value=allow]')]);
    if (other.url() !== `${app.origin}/`) await other.click('button[value=allow]');
    await other.waitForURL(`${app.origin}/`);
    expect(await other.textContent('#name')).toBe(NAME);
    expect(app.callbacks() - before).toBe(2);
    await context.close();
  });

  test.each([true, false])(
    'who uses another account at consent reaches the app as that one (scripts: %s)',
    async (on) => {
      const { context, page, complaints } = await visit(browser, { javaScriptEnabled: on });
      const other = await createTestAccount(server.domains, { name: 'Grace Hopper' });
      await page.goto(`${app.origin}/login`);
      await fillIn(page, await newPerson());
      await page.click('button[type=submit]');
      await page.click('button[formaction$="/switch-account"]');
      await page.waitForSelector('input[name=password]');
      await fillIn(page, other);
      await page.click('button[type=submit]');
      // The library signs the first account out by a form that sends itself where it can.
      if (!on) await page.click('noscript button');
      await page.click('button[value=allow]');
      await page.waitForURL(`${app.origin}/`);
      expect(await page.textContent('#name')).toBe('Grace Hopper');
      expect(complaints).toEqual([]);
      await context.close();
    },
  );

  test('who cancels goes back to the app with nothing', async () => {
    const { context, page } = await visit(browser);
    await page.goto(`${app.origin}/login`);
    await page.click('a.button--quiet');
    await page.waitForURL(`${app.origin}/`);
    expect(await page.textContent('#error')).toBe('access_denied');
    await context.close();
  });
});

describe('the language of the pages', () => {
  test('is that of the browser', async () => {
    const { context, page } = await visit(browser, { locale: 'de-CH' });
    await page.goto(`${app.origin}/login`);
    expect(await page.getAttribute('html', 'lang')).toBe('de');
    expect(await page.textContent('h1')).toBe('Anmelden');
    await context.close();
  });

  test('is that of ui_locales before that of the browser, and stays it to the end', async () => {
    const germanApp = await startThirdPartyApp(server, { scope: 'openid', parameters: { ui_locales: 'fr-CA de' } });
    const { context, page } = await visit(browser, { locale: 'en' });
    const person = await newPerson();
    const languages: (string | null)[] = [];
    const note = async () => languages.push(await page.getAttribute('html', 'lang'));
    await page.goto(`${germanApp.origin}/login`);
    await note();
    await page.click('button[type=submit]');
    await page.waitForSelector('[data-error-summary]');
    await note();
    await fillIn(page, person);
    await page.click('button[type=submit]');
    await page.waitForSelector('button[name=decision]');
    await note();
    expect(languages).toEqual(['de', 'de', 'de']);
    await Promise.all([context.close(), germanApp.close()]);
  });
});

describe('at 200 % zoom', () => {
  test.each([
    [390, 'en'],
    [390, 'de'],
    [1280, 'en'],
    [1280, 'de'],
  ])('on %i pixels nothing is wider than the window, in %s', async (pixels, locale) => {
    const zoomed = { viewport: { width: pixels / 2, height: 450 }, deviceScaleFactor: 2, locale };
    const { context, page } = await visit(browser, zoomed);
    const person = await newPerson();
    await page.goto(`${app.origin}/login`);
    expect(await wideElements(page)).toEqual([]);
    await page.click('button[type=submit]');
    await page.waitForSelector('[data-error-summary]');
    expect(await wideElements(page)).toEqual([]);
    await fillIn(page, person);
    await page.click('button[type=submit]');
    await page.waitForSelector('button[name=decision]');
    expect(await wideElements(page)).toEqual([]);
    await page.goto(`${server.issuer}/logout`);
    expect(await wideElements(page)).toEqual([]);
    await page.goto(`${server.issuer}/nothing`);
    expect(await wideElements(page)).toEqual([]);
    await context.close();
  });
});
