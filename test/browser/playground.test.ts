import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { demoSignIn } from '../../src/playground/index.ts';
import { launchBrowser, visit } from '../harness/browser.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { pageFaults } from './page-faults.ts';

let server: TestServer;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = await Promise.all([
    startTestServer({ environment: { NODE_ENV: 'development' } }),
    launchBrowser(),
  ]);
});
afterAll(() => Promise.all([browser.close(), server.close()]));

test('where the browser refuses to copy, the page says so, and selects what is to be copied', async () => {
  const { page, context, complaints } = await visit(browser);
  const refusal = `navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'));`;
  await context.addInitScript({ content: refusal });
  await page.goto(`${server.issuer}/`);
  await page.locator('[data-copy]').first().click();
  await page.locator('[data-copy]', { hasText: 'Select and copy by hand' }).waitFor();
  await page.locator('[data-copy-from]').first().click();
  await page.locator('[data-copy-from]', { hasText: 'Select and copy by hand' }).waitFor();
  const command = await page.locator('#discovery-command').textContent();
  expect(await page.evaluate('getSelection().toString()')).toBe(command);
  expect(complaints).toEqual([]);
  await context.close();
});

test('the playground leads a developer through every flow, and none of its pages has faults', async () => {
  const visitor = await visit(browser);
  const { page, context } = visitor;
  const home = `${server.issuer}/`;
  const hasNoFaults = async () => expect(await pageFaults(visitor)).toEqual([]);
  const codeFlow = page.locator('form[action="/playground/authorize"]');

  await page.goto(home);
  await hasNoFaults();
  await page.goto(`${server.issuer}/playground/result`);
  await hasNoFaults();

  await page.goto(home);
  await codeFlow.locator('input[value=offline_access]').check();
  await codeFlow.locator('input[value="urn:demo:notes"]').check();
  await codeFlow.locator('input[value="notes:write"]').check();
  await hasNoFaults();
  await codeFlow.locator('button[type=submit]').click();
  await page.fill('input[name=login]', demoSignIn.email);
  await page.fill('input[name=password]', demoSignIn.password);
  await page.click('button[type=submit]');
  await page.click('button[value=allow]');
  await page.waitForURL(`${server.issuer}/playground/result`);
  for (const action of ['introspect', 'refresh', 'revoke']) {
    await page.locator(`form[action$="/${action}"] button`).first().click();
    await page.waitForURL(`${server.issuer}/playground/result**`);
  }
  for (const fold of await page.locator('summary').all()) await fold.click();
  await hasNoFaults();

  await page.goto(home);
  await page.click('form[action="/playground/client-credentials"] button[type=submit]');
  await page.waitForURL(`${server.issuer}/playground/client-credentials`);
  await hasNoFaults();

  await page.goto(home);
  await page.locator('summary').first().click();
  await page.selectOption('select[name=prompt]', 'none');
  await codeFlow.locator('input[value=address]').check();
  await codeFlow.locator('button[type=submit]').click();
  expect(await page.getAttribute('[data-error]', 'data-error')).toBe('consent_required');
  await hasNoFaults();
  await context.close();
});
