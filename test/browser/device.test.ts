import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, type Visit, visit } from '../harness/browser.ts';
import { askForCodes, createDeviceClient, poll } from '../harness/devices.ts';
import { createTestAccount, type TestClient } from '../harness/factories.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { layoutFaults, pageFaults } from './page-faults.ts';

const LONG_NAME = 'Donaudampfschifffahrtsgesellschaftskapitänskajütenfernseher for Families and Friends';
const TRIES = 3;

let server: TestServer;
let browser: Browser;
let client: TestClient;
beforeAll(async () => {
  const environment = { USER_CODE_ATTEMPTS_PER_ADDRESS: String(TRIES) };
  [server, browser] = await Promise.all([startTestServer({ environment }), launchBrowser()]);
  client = await createDeviceClient(server.domains, { metadata: { client_name: LONG_NAME } });
});
afterAll(() => Promise.all([browser.close(), server.close()]));

/** As a television asks: with a long name of its own, too. */
async function askOnTelevision(): Promise<{
  user_code: string;
  device_code: string;
  verification_uri_complete: string;
}> {
  const response = await fetch(`${server.issuer}/device_authorization`, {
    method: 'POST',
    headers: {
      'user-agent': 'Mozilla/5.0 (SMART-TV; Linux; Tizen 9.0) AppleWebKit/537.36 Version/9.0 TV Safari/537.36',
    },
    body: new URLSearchParams({ client_id: client.id, scope: 'openid profile' }),
  });
  return (await response.json()) as Awaited<ReturnType<typeof askOnTelevision>>;
}

async function enter(page: Page, code: string): Promise<void> {
  await page.fill('input[name=user_code]', code);
  await page.click('button[type=submit]');
}

async function signIn(page: Page, { login, password }: { login: string; password: string }): Promise<void> {
  await page.fill('input[name=login]', login);
  await page.fill('input[name=password]', password);
  await page.click('button[type=submit]');
}

const faultsIn = (locale: string) => (locale === 'en' ? pageFaults : layoutFaults);
const alertText = (page: Page) => page.textContent('[data-error-summary] h2');
const heading = (page: Page) => page.textContent('h1');

describe('the pages of a device', () => {
  test.each(['en', 'de'])('have no faults from the code to the end, in %s', async (locale) => {
    const visitor = await visit(browser, { locale });
    const { page } = visitor;
    const hasNoFaults = async () => expect(await faultsIn(locale)(visitor)).toEqual([]);
    const { user_code } = await askOnTelevision();
    await page.goto(`${server.issuer}/device`);
    expect(await page.locator(':focus').getAttribute('name')).toBe('user_code');
    await hasNoFaults();
    await enter(page, user_code);
    expect(await page.textContent('.user-code')).toBe(user_code);
    expect(await page.textContent('main')).toContain('SMART-TV');
    await hasNoFaults();
    await page.click('button[name=confirm]');
    await signIn(page, await createTestAccount(server.domains));
    await hasNoFaults();
    await page.click('button[value=allow]');
    expect(await page.locator('form').count()).toBe(0);
    await hasNoFaults();

    const other = await askOnTelevision();
    await page.goto(other.verification_uri_complete);
    expect(await page.inputValue('input[name=user_code]')).toBe(other.user_code);
    await hasNoFaults();
    await page.click('button[type=submit]');
    await page.click('button[name=abort]');
    expect(await page.locator('form').count()).toBe(0);
    await hasNoFaults();
    await visitor.context.close();
  });

  test.each(['en', 'de'])('have no faults with any of their errors, in %s', async (locale) => {
    const visitor = await visit(browser, { locale });
    const { page, context } = visitor;
    await server.domains.database.pool.query('delete from sign_in_attempts');
    const said = new Set<string | null>();
    const hasNoFaults = async () => {
      expect(await page.locator('[data-error]').count()).toBe(1);
      expect(await page.locator('input[name=user_code]').count()).toBe(1);
      expect(await faultsIn(locale)(visitor)).toEqual([]);
      said.add(await alertText(page));
    };
    await page.goto(`${server.issuer}/device`);
    await enter(page, '');
    await hasNoFaults();
    const { user_code } = await askOnTelevision();
    await enter(page, user_code);
    await page.click('button[name=abort]');
    await page.goto(`${server.issuer}/device`);
    await enter(page, user_code);
    await hasNoFaults();
    await context.clearCookies();
    await enter(page, user_code);
    await hasNoFaults();
    await page.click('button[type=submit]');
    for (let turn = 0; turn < TRIES; turn += 1) await enter(page, 'BBBB-BBBB');
    await hasNoFaults();
    await enter(page, 'BBBB-BBBB');
    await hasNoFaults();
    expect(said.size).toBe(5);
    await visitor.context.close();
    await server.domains.database.pool.query('delete from sign_in_attempts');
  });

  test('serve a person without JavaScript, from the address with the code to the tokens of the device', async () => {
    const { context, page }: Visit = await visit(browser, { javaScriptEnabled: false });
    const codes = await askForCodes(server.issuer, client);
    await page.goto(codes.verification_uri_complete);
    await page.click('button[type=submit]');
    await page.click('button[name=confirm]');
    await signIn(page, await createTestAccount(server.domains));
    await page.click('button[value=allow]');
    expect(await heading(page)).toBe('Your device is connected');
    expect((await poll(server.issuer, client, codes.device_code)).status).toBe(200);
    await context.close();
  });
});
