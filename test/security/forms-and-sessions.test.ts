import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createTestAccount as createAccount,
  createTestClient,
  REDIRECT_URI,
  type TestClient,
} from '../harness/factories.ts';
import { authorizationRequest, authorize, signInForTokens } from '../harness/flows.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { rawRequest } from './raw-http.ts';
import { signedCookies } from './signed-cookies.ts';

const SESSION = 'tessera_session';
const CSRF = 'tessera_csrf';

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  client = await createTestClient(server.domains);
});
afterAll(() => server.close());

/** What a new person types. */
async function createTestAccount({ domains }: TestServer): Promise<{ login: string; password: string }> {
  const { login, password } = await createAccount(domains);
  return { login, password };
}

type Page = Awaited<ReturnType<Person['open']>>;

const start = (person: Person, parameters = {}) =>
  person.open(authorizationRequest(server.issuer, client.id, parameters).url);
const csrfIn = (html: string) => /name="_csrf" value="([^"]*)"/.exec(html)?.[1] ?? '';
const uidOf = (page: Page) => new URL(page.url).pathname.split('/')[2] ?? '';

/** What a request that wants no page of ours leads to: `code` or the error. */
async function silently(person: Person): Promise<string | null> {
  const { url } = await start(person, { prompt: 'none' });
  const { searchParams } = new URL(url);
  return searchParams.has('code') ? 'code' : searchParams.get('error');
}

async function isSignedIn(person: Person): Promise<boolean> {
  return (await silently(person)) !== 'login_required';
}

/** A person at the consent page. */
async function atConsent(): Promise<{ person: Person; page: Page; credentials: { login: string; password: string } }> {
  const credentials = await createTestAccount(server);
  const person = new Person();
  const page = await person.submit(await start(person), credentials, '/sign-in');
  expect(page.html).toContain('name="decision"');
  return { person, page, credentials };
}

function post(person: Person, path: string, fields: Record<string, string>, headers: Record<string, string> = {}) {
  return person.open(`${server.issuer}${path}`, { method: 'POST', body: new URLSearchParams(fields), headers });
}

describe('a form', () => {
  const forgeries: [string, (own: string, foreign: string) => Record<string, string>][] = [
    ['without a token', () => ({})],
    ['with an empty token', () => ({ _csrf: '' })],
    ['with the token of another browser', (_own, foreign) => ({ _csrf: foreign })],
    ['with a token cut short', (own) => ({ _csrf: own.slice(0, -1) })],
    ['with a token and more', (own) => ({ _csrf: `${own}A` })],
  ];

  test.each(forgeries)('for signing in %s is refused, and nobody is signed in', async (_title, forge) => {
    const credentials = await createTestAccount(server);
    const person = new Person();
    const page = await start(person);
    const foreign = csrfIn((await start(new Person())).html);
    const fields = { ...credentials, ...forge(csrfIn(page.html), foreign) };
    const answer = await post(person, `/interaction/${uidOf(page)}/sign-in`, fields);
    expect({ status: answer.response.status, error: errorOnPage(answer.html) }).toEqual({ status: 403, error: 'csrf' });
    expect(await isSignedIn(person)).toBe(false);
    const untouched = await person.submit(page, credentials, '/sign-in');
    expect(untouched.html).toContain('name="decision"');
  });

  test.each(forgeries)('for consent %s is refused, and nothing is allowed', async (_title, forge) => {
    const { person, page } = await atConsent();
    const foreign = csrfIn((await start(new Person())).html);
    const fields = { decision: 'allow', ...forge(csrfIn(page.html), foreign) };
    const answer = await post(person, `/interaction/${uidOf(page)}/consent`, fields);
    expect({ status: answer.response.status, error: errorOnPage(answer.html) }).toEqual({ status: 403, error: 'csrf' });
    expect(await silently(person)).toBe('consent_required');
  });

  test('that comes without any cookie is refused', async () => {
    const { page } = await atConsent();
    const path = `/interaction/${uidOf(page)}/consent`;
    const answer = await post(new Person(), path, { decision: 'allow', _csrf: csrfIn(page.html) });
    expect({ status: answer.response.status, error: errorOnPage(answer.html) }).toEqual({ status: 403, error: 'csrf' });
  });

  test('whose cookie was set by somebody else, together with its token, still opens no interaction of another', async () => {
    const { page } = await atConsent();
    const attacker = new Person();
    const own = await start(attacker);
    const answer = await post(attacker, `/interaction/${uidOf(page)}/consent`, {
      decision: 'allow',
      _csrf: csrfIn(own.html),
    });
    expect(answer.response.status).toBe(400);
    expect(errorOnPage(answer.html)).toBe('invalid_request');
    expect(answer.response.url || answer.url).not.toContain('code=');
  });

  test('of a sign-out without its token is refused, and the person stays signed in', async () => {
    const credentials = await createTestAccount(server);
    const person = new Person();
    await signInForTokens(server.issuer, client, credentials, { person });
    await person.open(`${server.issuer}/logout`);
    for (const xsrf of ['', 'wrong']) {
      const answer = await post(person, '/logout/confirm', { xsrf, logout: 'yes' });
      expect(answer.response.status).toBe(400);
    }
    expect(await silently(person)).toBe('code');
  });
});

describe('an interaction', () => {
  test('is open to its own browser alone: who knows its uid is told that it is over', async () => {
    const { page, credentials } = await atConsent();
    const stranger = new Person();
    const own = await start(stranger);
    for (const path of ['', '/sign-in', '/consent', '/switch-account', '/cancel']) {
      const seen = await stranger.open(`${server.issuer}/interaction/${uidOf(page)}${path}`);
      expect(`${path} ${seen.response.status} ${errorOnPage(seen.html)}`).toBe(`${path} 400 invalid_request`);
      expect(seen.html).toContain('This sign-in is no longer open');
      expect(seen.html).not.toContain(credentials.login);
    }
    expect((await stranger.open(own.url)).response.status).toBe(200);
    // Not even where their own interaction's cookie is sent along to the address of the other one.
    for (const name of ['tessera_interaction', 'tessera_interaction.sig']) {
      stranger.setCookie(name, stranger.cookies()[name] ?? '', '/');
    }
    expect((await stranger.open(own.url)).response.status).toBe(200);
    expect((await stranger.open(page.url)).response.status).toBe(400);
  });

  test('of an attacker takes no password of a victim: signing in by posting there is refused', async () => {
    const attacker = await createTestAccount(server);
    const theirs = new Person();
    const page = await start(theirs);
    const victim = new Person();
    const fields = { ...attacker, _csrf: csrfIn(page.html) };
    const login = await post(victim, `/interaction/${uidOf(page)}/sign-in`, fields);
    expect(login.response.status).toBe(403);
    expect(victim.cookies()[SESSION]).toBeUndefined();
    expect(await isSignedIn(victim)).toBe(false);
  });

  test('can’t be gone on with from another browser, even with the cookie of the session alone', async () => {
    const { person, page } = await atConsent();
    const thief = new Person();
    const cookies = person.cookies();
    for (const name of [SESSION, `${SESSION}.sig`]) thief.setCookie(name, cookies[name] ?? '');
    expect((await thief.open(page.url)).response.status).toBe(400);
    const resumed = await thief.open(`${server.issuer}/authorize/${uidOf(page)}`);
    expect(resumed.url).not.toContain('code=');
    expect(resumed.response.status).toBe(400);
  });

  test('is not found by guessing, and the guesses are no faults', async () => {
    const person = new Person();
    await start(person);
    const cookie = Object.entries(person.cookies())
      .map(([name, value]) => `${name}=${value}`)
      .join('; ');
    const uids = [
      '0',
      'null',
      'undefined',
      '%00',
      '..',
      '%2e%2e',
      '%2e%2e%2fadmin',
      'a'.repeat(43),
      "';--",
      '%ff',
      '[object%20Object]',
    ];
    for (const uid of uids) {
      for (const step of ['', '/sign-in', '/consent', '/switch-account', '/cancel']) {
        const path = `/interaction/${uid}${step}`;
        const { status, headers } = await rawRequest(server.address, {
          path,
          headers: { cookie, accept: 'text/html' },
        });
        // The address of a form leads a reload to its page, where the refusal waits.
        const isLedBack = status === 302 && String(headers.location).startsWith('/interaction/');
        expect({ uid, step, isRefused: isLedBack || [400, 404].includes(status) }).toEqual({
          uid,
          step,
          isRefused: true,
        });
      }
    }
  });

  test('that has been answered is over: its forms can’t be sent again', async () => {
    const { person, page } = await atConsent();
    const back = await person.submit(page, { decision: 'allow' }, '/consent');
    expect(back.url).toContain('code=');
    const again = await person.submit(page, { decision: 'allow' }, '/consent');
    expect(again.response.status).toBe(400);
    expect(errorOnPage(again.html)).toBe('invalid_request');
  });

  test('at the consent step takes no sign-in, and at the sign-in no consent', async () => {
    const { person, page, credentials } = await atConsent();
    const path = (name: string) => `/interaction/${uidOf(page)}/${name}`;
    const other = await createTestAccount(server);
    const switched = await post(person, path('sign-in'), {
      login: other.login,
      password: other.password,
      _csrf: csrfIn(page.html),
    });
    expect(switched.response.status).toBe(400);
    const fresh = new Person();
    const signIn = await start(fresh);
    const skipped = await post(fresh, `/interaction/${uidOf(signIn)}/consent`, {
      decision: 'allow',
      _csrf: csrfIn(signIn.html),
    });
    expect(skipped.response.status).toBe(400);
    expect(await isSignedIn(fresh)).toBe(false);
    expect(credentials.login).not.toBe(other.login);
  });
});

describe('a session', () => {
  test('has a new id after a sign-in: one that was planted before is worth nothing', async () => {
    const credentials = await createTestAccount(server);
    const victim = new Person();
    // The attacker plants what they know: even with a signature that is right it is no session.
    const planted = 'a'.repeat(43);
    for (const [name, value] of signedCookies(SESSION, planted, server.domains.cookieKeys()))
      victim.setCookie(name, value);
    await signInForTokens(server.issuer, client, credentials, { person: victim });
    expect(victim.cookies()[SESSION]).not.toBe(planted);
    const attacker = new Person();
    for (const [name, value] of signedCookies(SESSION, planted, server.domains.cookieKeys()))
      attacker.setCookie(name, value);
    expect(await silently(attacker)).toBe('login_required');
    expect(await silently(victim)).toBe('code');
  });

  test('has a new id at every sign-in, and the one before is dead', async () => {
    const credentials = await createTestAccount(server);
    const person = new Person();
    await signInForTokens(server.issuer, client, credentials, { person });
    const before = person.cookies();
    await authorize(person, authorizationRequest(server.issuer, client.id, { prompt: 'login' }), credentials);
    expect(person.cookies()[SESSION]).not.toBe(before[SESSION]);
    const attacker = new Person();
    for (const name of [SESSION, `${SESSION}.sig`]) attacker.setCookie(name, before[name] ?? '');
    expect(await silently(attacker)).toBe('login_required');
  });

  test('is dead after a sign-out, under its value before and after', async () => {
    const credentials = await createTestAccount(server);
    const person = new Person();
    await signInForTokens(server.issuer, client, credentials, { person });
    const before = person.cookies();
    const page = await person.open(`${server.issuer}/logout`);
    const out = await person.submit({ url: page.url, html: page.html }, { logout: 'yes' }, '/logout/confirm');
    expect(out.response.status).toBe(200);
    for (const cookies of [before, person.cookies()]) {
      const visitor = new Person();
      for (const [name, value] of Object.entries(cookies)) visitor.setCookie(name, value);
      expect(await silently(visitor)).toBe('login_required');
    }
  });

  test('under a cookie whose signature is missing, wrong or of another cookie is none', async () => {
    const credentials = await createTestAccount(server);
    const person = new Person();
    await signInForTokens(server.issuer, client, credentials, { person });
    const cookies = person.cookies();
    const right = cookies[`${SESSION}.sig`] ?? '';
    expect(right).not.toBe('');
    const wrong = [undefined, '', 'wrong', right.slice(0, -2), cookies[`${CSRF}.sig`] ?? 'x'];
    for (const signature of wrong) {
      const thief = new Person();
      thief.setCookie(SESSION, cookies[SESSION] ?? '');
      if (signature !== undefined) thief.setCookie(`${SESSION}.sig`, signature);
      expect(await silently(thief)).toBe('login_required');
    }
  });
});

describe('cookies', () => {
  /** Every cookie that a sign-in and consent set, with its attributes in small letters. */
  async function cookiesOf(of: TestServer): Promise<Map<string, string[]>> {
    const own = await createTestClient(of.domains);
    const { login, password } = await createTestAccount(of);
    const issued = new Map<string, string[]>();
    const jar = new Map<string, string>();
    const ask = async (url: string, fields?: Record<string, string>) => {
      const { pathname, search } = new URL(url, of.address);
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
      const response = await fetch(`${of.address}${pathname}${search}`, {
        redirect: 'manual',
        headers: { cookie, accept: 'text/html' },
        ...(fields === undefined ? {} : { method: 'POST', body: new URLSearchParams(fields) }),
      });
      for (const line of response.headers.getSetCookie()) {
        const [pair = '', ...attributes] = line.split('; ');
        const [name = '', value = ''] = pair.split('=', 2);
        jar.set(name, value);
        if (value !== '')
          issued.set(
            name,
            attributes.map((attribute) => attribute.toLowerCase()),
          );
      }
      return { location: response.headers.get('location') ?? '', html: await response.text() };
    };
    const first = await ask(authorizationRequest(of.issuer, own.id).url);
    const signIn = await ask(first.location);
    const signedIn = await ask(`${first.location}/sign-in`, { login, password, _csrf: csrfIn(signIn.html) });
    const second = await ask(signedIn.location);
    const consent = await ask(second.location);
    const allowed = await ask(`${second.location}/consent`, { decision: 'allow', _csrf: csrfIn(consent.html) });
    const back = await ask(allowed.location);
    expect(back.location.startsWith(REDIRECT_URI)).toBe(true);
    return issued;
  }

  test('are out of reach of scripts and of other sites', async () => {
    const cookies = await cookiesOf(server);
    expect([...cookies.keys()]).toEqual(
      expect.arrayContaining([SESSION, `${SESSION}.sig`, CSRF, 'tessera_interaction']),
    );
    for (const [name, attributes] of cookies) {
      expect({ name, attributes }).toEqual({ name, attributes: expect.arrayContaining(['httponly', 'samesite=lax']) });
      expect(attributes.filter((attribute) => attribute.startsWith('domain'))).toEqual([]);
    }
  });

  test('are bound to https and to this host where the issuer is https', async () => {
    const secure = await startTestServer({
      environment: { ISSUER: 'https://id.example.com', TRUST_PROXY: '127.0.0.1,::1' },
    });
    try {
      const cookies = await cookiesOf(secure);
      for (const [name, attributes] of cookies) {
        expect({ name, isSecure: attributes.includes('secure') }).toEqual({ name, isSecure: true });
        expect(attributes).toEqual(expect.arrayContaining(['httponly', 'samesite=lax']));
      }
      for (const name of ['__Host-tessera_session', '__Host-tessera_csrf']) {
        expect(cookies.get(name)).toEqual(expect.arrayContaining(['path=/', 'secure']));
        expect(cookies.get(name)?.some((attribute) => attribute.startsWith('domain'))).toBe(false);
      }
    } finally {
      await secure.close();
    }
  });
});
