import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient, REDIRECT_URI, type TestClient } from '../../harness/factories.ts';
import { authorizationRequest, signInForTokens } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, refresh, userinfo } from '../../harness/token-requests.ts';

const GOODBYE = 'https://app.example.com/goodbye';
const OFFLINE = { scope: 'openid offline_access', prompt: 'consent' };

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  client = await createTestClient(server.domains, { metadata: { post_logout_redirect_uris: [GOODBYE] } });
});
afterAll(() => server.close());

async function signedIn(parameters: Record<string, string> = {}) {
  const account = await createTestAccount(server.domains);
  const person = new Person();
  const tokens = await signInForTokens(server.issuer, client, account, { parameters, person });
  return { account, person, tokens, idToken: tokens.id_token ?? '' };
}

function logoutUrl(parameters: Record<string, string> = {}): string {
  return `${server.issuer}/logout?${new URLSearchParams(parameters)}`;
}

async function isSignedIn(person: Person): Promise<boolean> {
  const { url } = await person.open(authorizationRequest(server.issuer, client.id, { prompt: 'none' }).url);
  const answer = new URL(url).searchParams;
  expect(answer.get('code') ?? answer.get('error')).toBeTruthy();
  return answer.has('code');
}

describe('the sign-out page', () => {
  test('asks first: opening it ends nothing', async () => {
    const { person, account, tokens } = await signedIn();
    const page = await person.open(logoutUrl());
    expect(page.response.status).toBe(200);
    expect(page.html).toContain(account.login);
    expect(page.html).toMatch(/<button[^>]*name="logout"/);
    expect(await isSignedIn(person)).toBe(true);
    expect(await isActive(server.issuer, client, tokens.access_token)).toBe(true);
  });

  test('confirmed ends the session and the tokens that hang on it, in this browser alone', async () => {
    const { person, account, tokens } = await signedIn();
    const elsewhere = new Person();
    const others = await signInForTokens(server.issuer, client, account, { person: elsewhere });
    const cookies = person.cookies();
    const done = await person.submit(await person.open(logoutUrl()), { logout: 'yes' }, '/logout/confirm');
    expect(done.response.status).toBe(200);
    expect(done.html).toContain('You are signed out');
    expect(await isSignedIn(person)).toBe(false);
    expect(await isActive(server.issuer, client, tokens.access_token)).toBe(false);
    expect((await userinfo(server.issuer, tokens.access_token)).status).toBe(401);
    // The cookies from before open nothing either.
    const thief = new Person();
    for (const [name, value] of Object.entries(cookies)) thief.setCookie(name, value);
    expect(await isSignedIn(thief)).toBe(false);
    expect(await isSignedIn(elsewhere)).toBe(true);
    expect(await isActive(server.issuer, client, others.access_token)).toBe(true);
  });

  test('denied keeps the session', async () => {
    const { person } = await signedIn();
    await person.submit(await person.open(logoutUrl()), {}, '/logout/confirm');
    expect(await isSignedIn(person)).toBe(true);
  });

  test('confirmed leaves alone what is for use while the person is away', async () => {
    const { person, tokens } = await signedIn(OFFLINE);
    await person.submit(await person.open(logoutUrl()), { logout: 'yes' }, '/logout/confirm');
    expect(await isSignedIn(person)).toBe(false);
    const { status, body } = await refresh(server.issuer, client, tokens.refresh_token);
    expect(status).toBe(200);
    expect((await userinfo(server.issuer, String(body.access_token))).status).toBe(200);
  });

  test('can’t be confirmed from outside: without its token nothing happens', async () => {
    const { person } = await signedIn();
    await person.open(logoutUrl());
    for (const xsrf of [undefined, 'guess']) {
      const response = await person.request(`${server.issuer}/logout/confirm`, {
        method: 'POST',
        body: new URLSearchParams({ logout: 'yes', ...(xsrf === undefined ? undefined : { xsrf }) }),
      });
      expect(response.status).toBe(400);
      expect(errorOnPage(await response.text())).toBe('invalid_request');
    }
    expect(await isSignedIn(person)).toBe(true);
  });

  test('is on record once confirmed', async () => {
    const { person, account } = await signedIn();
    await person.submit(await person.open(logoutUrl()), { logout: 'yes' }, '/logout/confirm');
    const events = await server.domains.audit.tail({ limit: 100, types: ['session.ended'] });
    expect(events.map(({ accountId }) => accountId)).toContain(account.account.id);
  });

  test('may be asked for by POST', async () => {
    const { person, idToken } = await signedIn();
    const page = await person.open(`${server.issuer}/logout`, {
      method: 'POST',
      body: new URLSearchParams({ id_token_hint: idToken, post_logout_redirect_uri: GOODBYE, state: 'x y' }),
    });
    const done = await person.submit(page, { logout: 'yes' }, '/logout/confirm');
    expect(new URL(done.url).searchParams.get('state')).toBe('x y');
    expect(done.url.startsWith(`${GOODBYE}?`)).toBe(true);
    expect(await isSignedIn(person)).toBe(false);
  });

  test('speaks the language that the app asks for', async () => {
    const { person } = await signedIn();
    expect((await person.open(logoutUrl({ ui_locales: 'de' }))).html).toContain('<html lang="de">');
  });
});

describe('the way back to the app', () => {
  test.each(['hint', 'client_id'])('leads to a registered address, with its state, named by %s', async (named) => {
    const { person, idToken } = await signedIn();
    const whose = named === 'hint' ? { id_token_hint: idToken } : { client_id: client.id };
    const page = await person.open(logoutUrl({ ...whose, post_logout_redirect_uri: GOODBYE, state: 's1' }));
    const done = await person.submit(page, { logout: 'yes' }, '/logout/confirm');
    expect(done.url).toBe(`${GOODBYE}?state=s1`);
  });

  test.each([
    'https://evil.example/goodbye',
    `${GOODBYE}/`,
    `${GOODBYE}?a=b`,
    GOODBYE.toUpperCase(),
    REDIRECT_URI,
    'https://app.example.com@evil.example/goodbye',
  ])('to %s, which isn’t registered, is refused on a page', async (uri) => {
    const { person, idToken } = await signedIn();
    const page = await person.open(logoutUrl({ id_token_hint: idToken, post_logout_redirect_uri: uri }));
    expect(page.response.status).toBe(400);
    expect(errorOnPage(page.html)).toBe('invalid_request');
    expect(await isSignedIn(person)).toBe(true);
  });

  test('without a word of whose it is leads nowhere', async () => {
    const { person } = await signedIn();
    const page = await person.open(logoutUrl({ post_logout_redirect_uri: GOODBYE }));
    const done = await person.submit(page, { logout: 'yes' }, '/logout/confirm');
    expect(new URL(done.url).origin).toBe(server.issuer);
    expect(done.html).toContain('You are signed out');
  });

  test('wants a hint that we signed, for the client that is named', async () => {
    const { person, idToken } = await signedIn();
    const other = await createTestClient(server.domains, { metadata: { post_logout_redirect_uris: [GOODBYE] } });
    for (const parameters of [
      { id_token_hint: 'nonsense' },
      { id_token_hint: `${idToken.slice(0, -8)}AAAAAAAA` },
      { id_token_hint: idToken, client_id: other.id },
      { client_id: 'nobody' },
    ]) {
      const page = await person.open(logoutUrl({ ...parameters, post_logout_redirect_uri: GOODBYE }));
      expect(page.response.status).toBe(400);
      expect(errorOnPage(page.html)).toMatch(/^invalid_(request|client)$/);
    }
    expect(await isSignedIn(person)).toBe(true);
  });

  test('is open to a person who is signed in nowhere', async () => {
    const { idToken } = await signedIn();
    const stranger = new Person();
    const page = await stranger.open(logoutUrl({ id_token_hint: idToken, post_logout_redirect_uri: GOODBYE }));
    expect(page.response.status).toBe(200);
    // A form that a browser sends by itself.
    expect((await stranger.submit(page, {}, '/logout/confirm')).url).toBe(GOODBYE);
  });
});
