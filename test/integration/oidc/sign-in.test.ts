import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createTestAccount, createTestClient, REDIRECT_URI, type TestClient } from '../../harness/factories.ts';
import { authorizationRequest, signInForTokens } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, redeem } from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  client = await createTestClient(server.domains);
});
afterAll(() => server.close());

type Credentials = { login: string; password: string };

const typed = ({ login, password }: Credentials) => ({ login, password });

const isSignIn = (html: string) => html.includes('name="password"');
const isConsent = (html: string) => html.includes('name="decision"');

/** A person who has signed in and allowed the client `openid`, and the ID token that came of it. */
async function signedIn(credentials: Credentials) {
  const person = new Person();
  const tokens = await signInForTokens(server.issuer, client, credentials, { person });
  const idToken = tokens.id_token ?? '';
  return { person, idToken, accessToken: tokens.access_token, authTime: Number(decodeJwt(idToken).auth_time) };
}

/** What a request leads to before the person does anything. */
async function ask(person: Person, parameters: Record<string, string | undefined>) {
  const request = authorizationRequest(server.issuer, client.id, parameters);
  const page = await person.open(request.url);
  const back = page.url.startsWith(REDIRECT_URI) ? new URL(page.url).searchParams : undefined;
  return { ...page, back, request };
}

async function idTokenFor(code: string | null | undefined, verifier: string) {
  const { body } = await redeem(server.issuer, client, code ?? '', verifier);
  return decodeJwt(String(body.id_token));
}

describe('prompt', () => {
  test('none answers with a code where the person is signed in, and with login_required where not', async () => {
    const { person } = await signedIn(await createTestAccount(server.domains));
    expect((await ask(person, { prompt: 'none' })).back?.get('code')).toBeTruthy();
    const stranger = await ask(new Person(), { prompt: 'none' });
    expect(stranger.back?.get('error')).toBe('login_required');
    expect(stranger.back?.get('state')).toBe(stranger.request.state);
  });

  test('none is consent_required where something has not been allowed yet', async () => {
    const { person } = await signedIn(await createTestAccount(server.domains));
    const { back } = await ask(person, { prompt: 'none', scope: 'openid email' });
    expect(back?.get('error')).toBe('consent_required');
  });

  test('login asks for the password again, and the ID token says when it was given', async () => {
    const credentials = await createTestAccount(server.domains);
    const { person, authTime } = await signedIn(credentials);
    await until('a second has passed', () => Math.floor(Date.now() / 1000) > authTime);
    const { html, url, request } = await ask(person, { prompt: 'login' });
    expect(isSignIn(html)).toBe(true);
    expect(url).toMatch(/\/interaction\//);
    const again = await person.submit({ html, url }, typed(credentials), '/sign-in');
    const claims = await idTokenFor(new URL(again.url).searchParams.get('code'), request.verifier);
    expect(Number(claims.auth_time)).toBeGreaterThan(authTime);
  });

  test('without one a person who is signed in goes straight back, with the time of the sign-in', async () => {
    const { person, authTime } = await signedIn(await createTestAccount(server.domains));
    const { back, request } = await ask(person, {});
    expect((await idTokenFor(back?.get('code'), request.verifier)).auth_time).toBe(authTime);
  });

  test('consent asks again for what was allowed before', async () => {
    const { person } = await signedIn(await createTestAccount(server.domains));
    const { html } = await ask(person, { prompt: 'consent' });
    expect(isConsent(html)).toBe(true);
    expect(html).toContain('You allowed this before');
  });
});

describe('max_age', () => {
  test('0 always asks for the password', async () => {
    const { person } = await signedIn(await createTestAccount(server.domains));
    expect(isSignIn((await ask(person, { max_age: '0' })).html)).toBe(true);
  });

  test('asks only those whose sign-in is older', async () => {
    const { person } = await signedIn(await createTestAccount(server.domains));
    expect((await ask(person, { max_age: '10000' })).back?.get('code')).toBeTruthy();
    await until('the sign-in is too old', async () => isSignIn((await ask(person, { max_age: '1' })).html));
    const { back } = await ask(person, { max_age: '1', prompt: 'none' });
    expect(back?.get('error')).toBe('login_required');
  });
});

describe('login_hint', () => {
  test('stands in the form, escaped', async () => {
    const { html } = await ask(new Person(), { login_hint: '"><script>alert(1)</script>' });
    const input = /<input[^>]*name="login"[^>]*>/.exec(html)?.[0];
    expect(input).toContain('value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"');
    expect(html).not.toContain('<script>alert(1)');
    const plain = await ask(new Person(), { login_hint: 'ada@example.com' });
    expect(/<input[^>]*name="login"[^>]*>/.exec(plain.html)?.[0]).toContain('value="ada@example.com"');
  });
});

describe('id_token_hint', () => {
  test('of the person who is signed in is no obstacle', async () => {
    const { person, idToken } = await signedIn(await createTestAccount(server.domains));
    const { back } = await ask(person, { id_token_hint: idToken, prompt: 'none' });
    expect(back?.get('code')).toBeTruthy();
  });

  test('of somebody else never leads to a code for the one who is signed in', async () => {
    const { person } = await signedIn(await createTestAccount(server.domains));
    const other = await signedIn(await createTestAccount(server.domains));
    const silent = await ask(person, { id_token_hint: other.idToken, prompt: 'none' });
    expect(silent.back?.get('error')).toBe('login_required');
    expect(isSignIn((await ask(person, { id_token_hint: other.idToken })).html)).toBe(true);
  });

  test('that we did not sign is refused', async () => {
    const { person, idToken } = await signedIn(await createTestAccount(server.domains));
    for (const hint of ['nonsense', `${idToken.slice(0, -10)}AAAAAAAAAA`]) {
      const { back } = await ask(person, { id_token_hint: hint, prompt: 'none' });
      expect(back?.get('error')).toBe('invalid_request');
    }
  });
});

describe('acr', () => {
  test('acr_values that are offered are answered in the ID token, and others hinder nobody', async () => {
    const credentials = await createTestAccount(server.domains);
    const { person } = await signedIn(credentials);
    for (const acr_values of ['urn:tessera:acr:password', 'urn:example:retina']) {
      const { back, request } = await ask(person, { acr_values });
      expect((await idTokenFor(back?.get('code'), request.verifier)).acr).toBe('urn:tessera:acr:password');
    }
  });
});

describe('an essential acr', () => {
  const claimsWith = (acr: object) => JSON.stringify({ id_token: { acr: { essential: true, ...acr } } });

  test.each([{ values: ['urn:example:retina'] }, { value: 'urn:example:retina' }])(
    'that no sign-in reaches is refused at once, with and without a session: %j',
    async (acr) => {
      const { person } = await signedIn(await createTestAccount(server.domains));
      for (const browser of [person, new Person()]) {
        for (const prompt of [undefined, 'none']) {
          const { back } = await ask(browser, { claims: claimsWith(acr), prompt });
          expect(back?.get('error')).toBe('unmet_authentication_requirements');
        }
      }
    },
  );

  test.each([
    { values: ['urn:example:retina', 'urn:tessera:acr:password'] },
    { value: 'urn:tessera:acr:password' },
    {},
  ])('that the password reaches is no obstacle: %j', async (acr) => {
    const { person } = await signedIn(await createTestAccount(server.domains));
    expect((await ask(person, { claims: claimsWith(acr) })).back?.get('code')).toBeTruthy();
  });
});

describe('the sign-in page', () => {
  test('speaks the language that the app or the browser asks for, the app first', async () => {
    const german = await ask(new Person(), { ui_locales: 'fr de-CH en' });
    expect(german.html).toContain('<html lang="de">');
    expect(german.html).toContain('Passwort');
    const url = authorizationRequest(server.issuer, client.id).url;
    const byBrowser = await new Person().open(url, { headers: { 'accept-language': 'de' } });
    expect(byBrowser.url).toMatch(/\/interaction\//);
    expect((await ask(new Person(), {})).html).toContain('<html lang="en">');
  });

  test('refuses a wrong password and an unknown person in the same words, keeps the name and drops the password', async () => {
    const { login } = await createTestAccount(server.domains);
    const answers = [];
    for (const name of [login, 'nobody@example.com']) {
      const person = new Person();
      const { html, url } = await ask(person, {});
      const refused = await person.submit({ html, url }, { login: name, password: 'wrong-password-1' }, '/sign-in');
      expect(refused.response.status).toBe(400);
      expect(refused.html).toContain(`value="${name}"`);
      expect(refused.html).not.toContain('wrong-password-1');
      const uid = new URL(url).pathname.split('/')[2] ?? '';
      answers.push(
        refused.html
          .replaceAll(name, '')
          .replaceAll(uid, '')
          .replace(/name="_csrf" value="[^"]*"/, ''),
      );
    }
    expect(answers[0]).toBe(answers[1]);
  });

  test('a person gets in on the second attempt, by the e-mail address in any case or by the user name', async () => {
    const { account, login, password } = await createTestAccount(server.domains);
    const username = `ada${account.id.slice(0, 8)}`;
    await server.domains.accounts.update(account.id, { username });
    for (const name of [login.toUpperCase(), username]) {
      const person = new Person();
      const { html, url } = await ask(person, {});
      const refused = await person.submit({ html, url }, { login: name, password: 'wrong-password-1' }, '/sign-in');
      const accepted = await person.submit(refused, { login: name, password }, '/sign-in');
      expect(isConsent(accepted.html) || accepted.url.startsWith(REDIRECT_URI)).toBe(true);
    }
  });

  test('a disabled account is refused like a wrong password, also where it was signed in before', async () => {
    const { account, login, password } = await createTestAccount(server.domains);
    const { person } = await signedIn({ login, password });
    await server.domains.accounts.disable(account.id);
    expect((await ask(person, { prompt: 'none' })).back?.get('error')).toBe('login_required');
    const { html, url } = await ask(person, {});
    const refused = await person.submit({ html, url }, { login, password }, '/sign-in');
    expect(refused.response.status).toBe(400);
    expect(refused.html).toContain('don’t match');
  });

  test('another person may sign in in the same browser, and gets nothing of the first one’s', async () => {
    const ada = await createTestAccount(server.domains);
    const bob = await createTestAccount(server.domains);
    const { person, accessToken: tokensOfAda } = await signedIn(ada);
    const { html, url, request } = await ask(person, { prompt: 'login' });
    // The first one's session ends by a form that a browser sends by itself.
    const handover = await person.submit({ html, url }, typed(bob), '/sign-in');
    const consent = await person.submit(handover, {}, '/logout/confirm');
    const back = await person.submit(consent, { decision: 'allow' }, '/consent');
    const claims = await idTokenFor(new URL(back.url).searchParams.get('code'), request.verifier);
    expect(claims.sub).toBe(bob.account.id);
    expect(await isActive(server.issuer, client, tokensOfAda)).toBe(false);
    const silent = await ask(person, { prompt: 'none' });
    expect((await idTokenFor(silent.back?.get('code'), silent.request.verifier)).sub).toBe(bob.account.id);
  });

  test('an interaction that there isn’t is a page that says to start again', async () => {
    const page = await new Person().open(`${server.issuer}/interaction/nonsense`);
    expect(page.response.status).toBe(400);
    expect(errorOnPage(page.html)).toBe('invalid_request');
    expect(page.html).toContain('Go back to the app and start again');
  });
});

describe('a new password', () => {
  /** What `tessera user set-password` does. */
  async function setPassword(accountId: string): Promise<void> {
    const { accounts, artifacts } = server.domains;
    expect((await accounts.setPassword(accountId, 'another quite long password')).ok).toBe(true);
    await artifacts.revokeAll({ accountId });
  }

  test('ends a sign-in with the old one that was sent and waits to be followed', async () => {
    const credentials = await createTestAccount(server.domains);
    const thief = new Person();
    const { html, url, request } = await ask(thief, {});
    const form = /action="([^"]*sign-in)"/.exec(html)?.[1] ?? '';
    const csrf = /name="_csrf" value="([^"]*)"/.exec(html)?.[1] ?? '';
    const sent = await thief.request(new URL(form, url).href, {
      method: 'POST',
      body: new URLSearchParams({ ...typed(credentials), _csrf: csrf }),
    });
    expect(sent.status).toBe(303);

    await setPassword(credentials.account.id);
    const followed = await thief.open(new URL(sent.headers.get('location') ?? '', url).href);
    expect(isConsent(followed.html)).toBe(false);
    expect(followed.response.status).toBe(400);
    const again = await thief.open(request.url);
    expect(isSignIn(again.html)).toBe(true);
  });

  test('ends a sign-in with the old one that waits for consent', async () => {
    const credentials = await createTestAccount(server.domains);
    const thief = new Person();
    const signIn = await ask(thief, {});
    const consent = await thief.submit(signIn, typed(credentials), '/sign-in');
    expect(isConsent(consent.html)).toBe(true);

    await setPassword(credentials.account.id);
    const allowed = await thief.submit(consent, { decision: 'allow' }, '/consent');
    expect(allowed.url).not.toContain(REDIRECT_URI);
    expect(allowed.response.status).toBe(400);
  });
});
