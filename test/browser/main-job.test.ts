import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeProtectedHeader } from 'jose';
import type { Browser } from 'playwright-core';
import { launchBrowser, visit } from '../harness/browser.ts';
import { createTestAccount, createTestApi, createTestClient } from '../harness/factories.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { startResourceServer } from './resource-server.ts';
import { startThirdPartyApp } from './third-party-app.ts';

let server: TestServer;
let browser: Browser;
beforeAll(async () => {
  [server, browser] = await Promise.all([startTestServer(), launchBrowser()]);
});
afterAll(() => Promise.all([browser.close(), server.close()]));

describe('a third-party app and a resource server', () => {
  test.each([
    ['opaque', { tokenFormat: 'opaque' }],
    ['RS256 JWT', { tokenFormat: 'jwt', signingAlgorithm: 'RS256' }],
    ['ES256 JWT', { tokenFormat: 'jwt', signingAlgorithm: 'ES256' }],
  ] as const)(
    'sign a person in, take their token until it is revoked, and sign them out: %s',
    async (_title, format) => {
      const { issuer, domains } = server;
      const guard = await createTestClient(domains);
      const api = await createTestApi(domains, { ...format, introspectionClientIds: [guard.id] });
      const [read = ''] = api.scopes.map(({ scope }) => scope);
      const app = await startThirdPartyApp(server, {
        scope: `openid profile email offline_access ${read}`,
        resource: api.identifier,
        parameters: { prompt: 'consent' },
      });
      const resourceServer = await startResourceServer(issuer, api, guard);
      const { login, password, account } = await createTestAccount(domains, { name: 'Grace Hopper' });
      const { context, page, complaints } = await visit(browser);

      await page.goto(`${app.origin}/login`);
      expect(new URL(page.url()).origin).toBe(issuer);
      expect(await page.title()).toBe('Sign in · Tessera');
      await page.fill('input[name=login]', login);
      await page.fill('input[name=password]', password);
      await page.click('button[type=submit]');

      expect(await page.locator('h1').textContent()).toBe('Allow access?');
      expect(await page.locator('main').textContent()).toContain(new URL(app.origin).host);
      await page.click('button[name=decision][value=allow]');

      await page.waitForURL(`${app.origin}/`);
      expect(await page.textContent('#name')).toBe('Grace Hopper');

      const token = app.apiToken();
      const isJwt = token.split('.').length === 3;
      expect(isJwt && decodeProtectedHeader(token).alg).toBe('signingAlgorithm' in format && format.signingAlgorithm);
      expect(await resourceServer.call(token)).toEqual({ status: 200, body: { sub: account.id, scope: read } });
      expect((await resourceServer.call(`${token}x`)).status).toBe(401);
      await app.revoke('access_token');
      expect((await resourceServer.call(token)).status).toBe(401);

      await page.goto(`${app.origin}/logout`);
      expect(new URL(page.url()).origin).toBe(issuer);
      expect(await page.locator('main').textContent()).toContain(login);
      await page.click('button[name=logout][value=yes]');
      await page.waitForURL(`${app.origin}/signed-out?state=bye`);

      await page.goto(`${app.origin}/login`);
      expect(await page.title()).toBe('Sign in · Tessera');
      expect(complaints).toEqual([]);
      await Promise.all([context.close(), app.close(), resourceServer.close()]);
    },
  );

  test('learn that the person said no', async () => {
    const app = await startThirdPartyApp(server, { scope: 'openid profile' });
    const { login, password } = await createTestAccount(server.domains);
    const { context, page } = await visit(browser);
    await page.goto(`${app.origin}/login`);
    await page.fill('input[name=login]', login);
    await page.fill('input[name=password]', password);
    await page.click('button[type=submit]');
    await page.click('button[name=decision][value=deny]');
    await page.waitForURL(`${app.origin}/`);
    expect(await page.textContent('#error')).toBe('access_denied');
    await Promise.all([context.close(), app.close()]);
  });
});
