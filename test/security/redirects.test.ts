import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient, unique } from '../harness/factories.ts';
import { authorizationRequest, codeFor, signInForTokens } from '../harness/flows.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { redeem } from '../harness/token-requests.ts';
import { rawRequest } from './raw-http.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const REGISTERED = 'https://app.example.com/callback';
const GOODBYE = 'https://app.example.com/goodbye';

/** Each is another host, or another address, to somebody: a browser, a parser, a decoder. */
const TRICKS = (uri: string) => {
  const { origin, host, pathname } = new URL(uri);
  return [
    'https://attacker.example/callback',
    `${origin}.attacker.example${pathname}`,
    `${origin}@attacker.example${pathname}`,
    `https://attacker.example@${host}${pathname}`,
    `https://attacker.example\\@${host}${pathname}`,
    `https://attacker.example#@${host}${pathname}`,
    `https://attacker.example?@${host}${pathname}`,
    `https:\\\\${host}${pathname}`,
    `https:/${host}${pathname}`,
    `//${host}${pathname}`,
    `/\\${host}${pathname}`,
    `http://${host}${pathname}`,
    `HTTPS://${host}${pathname}`,
    `https://${host.toUpperCase()}${pathname}`,
    `https://${host}:443${pathname}`,
    `https://${host}.${pathname}`,
    `https://аpp.example.com${pathname}`,
    `https://xn--pp-wlc.example.com${pathname}`,
    `${uri}/`,
    `${uri}#fragment`,
    `${uri}#`,
    `${uri}?x=1`,
    `${uri}?`,
    `${uri}%00`,
    `${uri}\u0000`,
    `${uri}%2f..`,
    `${uri}/../callback`,
    `${origin}/%63allback`,
    `${origin}${pathname}%20`,
    `${uri} `,
    ` ${uri}`,
    `${uri}\n`,
    `${uri}\t.attacker.example`,
    encodeURIComponent(uri),
    'javascript:alert(1)',
    'data:text/html,x',
    '',
    '*',
    'null',
  ];
};

describe('a redirect URI', () => {
  test('that is not exactly one of those registered is answered on a page, never by a redirect', async () => {
    const client = await createTestClient(server.domains, { metadata: { redirect_uris: [REGISTERED] } });
    const person = new Person();
    await codeFor(server.issuer, client, await createTestAccount(server.domains), { person });
    for (const redirect_uri of TRICKS(REGISTERED)) {
      for (const extra of [{}, { prompt: 'none' }, { response_type: 'nonsense' }, { scope: 'nonsense' }]) {
        const request = authorizationRequest(server.issuer, client.id, { ...extra, redirect_uri });
        const response = await person.request(request.url);
        const html = await response.text();
        expect({ redirect_uri, status: response.status, location: response.headers.get('location') }).toEqual({
          redirect_uri,
          status: 400,
          location: null,
        });
        expect(errorOnPage(html)).toMatch(/^(invalid_redirect_uri|invalid_request|unsupported_response_type)$/);
        expect(linksIn(html).filter((link) => link.includes('attacker.example'))).toEqual([]);
      }
    }
  });

  test('given twice is refused, whichever is right', async () => {
    const client = await createTestClient(server.domains, { metadata: { redirect_uris: [REGISTERED] } });
    const { url } = authorizationRequest(server.issuer, client.id);
    for (const tail of [`&redirect_uri=${encodeURIComponent('https://attacker.example/')}`, `&redirect_uri=`]) {
      const response = await new Person().request(url + tail);
      expect(response.status).toBe(400);
      expect(response.headers.get('location')).toBeNull();
    }
  });

  test('of another client is refused', async () => {
    const own = await createTestClient(server.domains, { metadata: { redirect_uris: [REGISTERED] } });
    await createTestClient(server.domains, { metadata: { redirect_uris: ['https://other.example/callback'] } });
    const request = authorizationRequest(server.issuer, own.id, { redirect_uri: 'https://other.example/callback' });
    expect((await new Person().request(request.url)).status).toBe(400);
  });

  test('on this machine may have any port for a native app, and nothing else of it may differ (RFC 8252)', async () => {
    const client = await createTestClient(server.domains, {
      metadata: {
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1/callback'],
      },
    });
    const ask = async (redirect_uri: string) => {
      const request = authorizationRequest(server.issuer, client.id, { redirect_uri, prompt: 'none' });
      return (await new Person().request(request.url)).status;
    };
    expect(await ask('http://127.0.0.1:51004/callback')).toBe(303);
    for (const other of [
      'http://127.0.0.1:51004/callback/',
      'http://127.0.0.1:51004/other',
      'http://localhost:51004/callback',
      'http://127.0.0.1.attacker.example/callback',
      'http://127.0.0.1:51004@attacker.example/callback',
      'http://127.0.0.2:51004/callback',
      'https://127.0.0.1:51004/callback',
      'http://[::1]:51004/callback',
    ]) {
      expect({ other, status: await ask(other) }).toEqual({ other, status: 400 });
    }
  });

  test('at the token endpoint must be the one that the code was issued for', async () => {
    const redirect_uris = [REGISTERED, 'https://app.example.com/other'];
    const client = await createTestClient(server.domains, { metadata: { redirect_uris } });
    const person = new Person();
    const credentials = await createTestAccount(server.domains);
    for (const redirect_uri of ['https://app.example.com/other', `${REGISTERED}/`, 'https://attacker.example/']) {
      const { code, verifier } = await codeFor(server.issuer, client, credentials, { person });
      const { status, body } = await redeem(server.issuer, client, code, verifier, { redirect_uri });
      expect({ redirect_uri, status, error: body.error }).toEqual({
        redirect_uri,
        status: 400,
        error: 'invalid_grant',
      });
    }
  });
});

describe('after a sign-out', () => {
  test('a person is sent to an address that the client registered, and to no other', async () => {
    const client = await createTestClient(server.domains, { metadata: { post_logout_redirect_uris: [GOODBYE] } });
    const credentials = await createTestAccount(server.domains);
    const person = new Person();
    const { id_token = '' } = await signInForTokens(server.issuer, client, credentials, { person });
    const logout = (post_logout_redirect_uri: string) =>
      person.request(
        `${server.issuer}/logout?${new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri })}`,
      );
    for (const uri of TRICKS(GOODBYE).filter((trick) => trick !== '')) {
      const response = await logout(uri);
      const html = await response.text();
      expect({ uri, status: response.status, location: response.headers.get('location') }).toEqual({
        uri,
        status: 400,
        location: null,
      });
      expect(linksIn(html).filter((link) => link.includes('attacker.example'))).toEqual([]);
    }
    expect((await logout(GOODBYE)).status).toBe(200);
  });

  test('without a client that vouches for it no address is taken', async () => {
    for (const parameters of [
      { post_logout_redirect_uri: GOODBYE },
      { post_logout_redirect_uri: 'https://attacker.example/', client_id: unique('nobody') },
    ]) {
      const page = await new Person().open(`${server.issuer}/logout?${new URLSearchParams(parameters)}`);
      expect(new URL(page.url).origin).toBe(server.issuer);
      expect(linksIn(page.html).filter(isElsewhere)).toEqual([]);
    }
  });
});

describe('an error page', () => {
  test('links to nothing that came with the request', async () => {
    const attacker = 'https://attacker.example/';
    const client = await createTestClient(server.domains);
    const names = [
      'redirect_uri',
      'client_uri',
      'return_to',
      'returnTo',
      'next',
      'url',
      'target_link_uri',
      'iss',
      'resource',
    ];
    const query = (...given: [string, string][]) =>
      new URLSearchParams([...given, ...names.map((name): [string, string] => [name, attacker])]);
    const addresses = [
      `/authorize?${query()}`,
      `/authorize?${query(['client_id', client.id])}`,
      `/interaction/nothing?${query()}`,
      `/logout?${query(['id_token_hint', 'x'])}`,
      `//attacker.example/`,
      `/\\attacker.example/`,
    ];
    for (const path of addresses) {
      const answer = await rawRequest(server.address, { path, headers: { accept: 'text/html', referer: attacker } });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(answer.headers.location).toBeUndefined();
      expect(linksIn(answer.text).filter((link) => link.includes('attacker'))).toEqual([]);
    }
  });

  test('of a sign-in that is over leads to the app by its registration, whatever the cookie says', async () => {
    const page = async (app: string) => {
      const cookie = `tessera_client=${Buffer.from(app).toString('base64url')}; tessera_client.sig=x`;
      return rawRequest(server.address, { path: '/interaction/nothing', headers: { accept: 'text/html', cookie } });
    };
    for (const app of [
      'https://attacker.example/',
      '{"clientUri":"https://attacker.example/"}',
      '\u0000',
      '__proto__',
    ]) {
      const answer = await page(app);
      expect(answer.status).toBe(400);
      expect(linksIn(answer.text).filter(isElsewhere)).toEqual([]);
    }
  });
});

const isElsewhere = (link: string) => new URL(link, server.issuer).origin !== server.issuer;

function linksIn(html: string): string[] {
  return [...html.matchAll(/(?:href|src|action|http-equiv="refresh" content)="([^"]*)"/g)].map(([, link = '']) => link);
}
