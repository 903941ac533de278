import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchBrowser, visit } from '../harness/browser.ts';
import { createTestAccount, createTestClient } from '../harness/factories.ts';
import { authorizationRequest } from '../harness/flows.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { post } from '../harness/token-requests.ts';
import { type HttpServer, startHttpServer } from './http-server.ts';

let server: TestServer;
let browser: Browser;
let app: HttpServer;
const posted: Record<string, string>[] = [];
beforeAll(async () => {
  [server, browser, app] = await Promise.all([
    startTestServer(),
    launchBrowser(),
    startHttpServer(async (url, request) => {
      if (request.method !== 'POST' || url.pathname !== '/callback') return { status: 404 };
      posted.push({ ...Object.fromEntries(new URLSearchParams(await text(request))), query: url.search });
      return { body: '<p id="done">done</p>' };
    }),
  ]);
});
afterAll(() => Promise.all([browser.close(), server.close(), app.close()]));

describe.each([
  ['with JavaScript by itself', true],
  ['without it by a button', false],
])('an answer by form reaches the app %s', (_title, javaScriptEnabled) => {
  test('with a code that can be redeemed, under our own policy', async () => {
    const redirectUri = `${app.origin}/callback`;
    const client = await createTestClient(server.domains, { metadata: { redirect_uris: [redirectUri] } });
    const person = await createTestAccount(server.domains);
    const request = authorizationRequest(server.issuer, client.id, {
      redirect_uri: redirectUri,
      response_mode: 'form_post',
    });
    const { context, page, complaints } = await visit(browser, { javaScriptEnabled });
    await page.goto(request.url);
    await page.fill('input[name=login]', person.login);
    await page.fill('input[name=password]', person.password);
    await page.click('button[type=submit]');
    await page.click('button[value=allow]');
    if (!javaScriptEnabled) await page.click('button[type=submit]');
    await page.waitForSelector('#done');
    const answer = posted.at(-1) ?? {};
    expect(answer).toMatchObject({ state: request.state, iss: server.issuer, query: '' });
    const { status } = await post(`${server.issuer}/token`, client, {
      grant_type: 'authorization_code',
      code: answer.code,
      redirect_uri: redirectUri,
      code_verifier: request.verifier,
    });
    expect(status).toBe(200);
    expect(complaints).toEqual([]);
    await context.close();
  });
});
