import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { demoSignIn, seedDemoData } from '../../../src/playground/index.ts';
import { recordingLogger } from '../../harness/loggers.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';

type Page = Awaited<ReturnType<Person['open']>>;

const { logger, text: logText } = recordingLogger();
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ logger });
  expect(await seedDemoData({ ...server.domains, issuer: server.issuer })).toEqual([]);
});
afterAll(() => server.close());

/** Sends a form of the first page, boxes that repeat their name included. */
async function send(person: Person, action: string, fields: [string, string][]): Promise<Page> {
  const home = await person.open(`${server.issuer}/`);
  const body = new URLSearchParams([['_csrf', csrfOf(home)], ...fields]);
  return person.open(`${server.issuer}${action}`, { method: 'POST', body });
}

function startFlow(person: Person, scopes: string[], fields: Record<string, string> = {}): Promise<Page> {
  const boxes = scopes.map((scope): [string, string] => ['scope', scope]);
  return send(person, '/playground/authorize', [...boxes, ...Object.entries(fields)]);
}

/** Signs in and decides, as far as each is asked for. */
async function goThrough(person: Person, page: Page, decision = 'allow'): Promise<Page> {
  if (page.html.includes('name="password"')) {
    const { email: login, password } = demoSignIn;
    return goThrough(person, await person.submit(page, { login, password }, '/sign-in'), decision);
  }
  if (page.html.includes('name="decision"')) return person.submit(page, { decision }, '/consent');
  return page;
}

const signIn = async (person: Person, scopes: string[], fields: Record<string, string> = {}) =>
  goThrough(person, await startFlow(person, scopes, fields));

function csrfOf({ html }: Page): string {
  return /name="_csrf" value="([^"]+)"/.exec(html)?.[1] ?? '';
}

function plain(html: string): string {
  return html
    .replace(/<[^>]+>/g, '')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}

/** The text of the element with an id, up to the end of its code, if it is on the page. */
function code({ html }: Page, id: string): string {
  return plain(new RegExp(`<code id="${id}">([\\s\\S]*?)</code>`).exec(html)?.[1] ?? '');
}

const answer = (page: Page, call: string, index = 0) => JSON.parse(code(page, `${call}-answer-${index}`));
const section = ({ html }: Page, id: string) =>
  plain(new RegExp(`<section class="card" id="${id}"[\\s\\S]*?</section>`).exec(html)?.[0] ?? '');
const errorOn = ({ html }: Page) => /data-error="([^"]+)"/.exec(html)?.[1];

describe('the first page', () => {
  test('lists the endpoints of discovery and the demo clients, with what signs in', async () => {
    const page = await new Person().open(`${server.issuer}/`);
    expect(page.response.status).toBe(200);
    for (const path of ['/authorize', '/token', '/userinfo', '/introspect', '/revoke', '/jwks', '/logout']) {
      expect(page.html).toContain(`${server.issuer}${path}<`);
    }
    for (const word of [demoSignIn.email, demoSignIn.password, 'demo-web', 'demo-service', 'demo-native']) {
      expect(plain(page.html)).toContain(word);
    }
  });

  test('sets no cookie that holds tokens before a flow is started', async () => {
    const person = new Person();
    await person.open(`${server.issuer}/`);
    expect(Object.keys(person.cookies())).not.toContain('tessera_playground');
  });
});

describe('a code flow through the playground', () => {
  test('for an API with JWTs shows them decoded, refreshes, and ends them with their grant', async () => {
    const person = new Person();
    const scopes = ['openid', 'email', 'offline_access', 'notes:read', 'files:read'];
    const result = await signIn(person, scopes, { api: 'urn:demo:notes' });
    expect(result.url).toBe(`${server.issuer}/playground/result`);
    const access = section(result, 'access-token').replace(/\s+/g, ' ');
    for (const claim of ['urn:demo:notes', 'notes:read', 'at+jwt', 'ES256']) expect(access).toContain(claim);
    expect(access).not.toContain('files:read');
    expect(section(result, 'id-token')).toContain(demoSignIn.email);

    const introspected = await person.submit(result, {}, '/introspect');
    expect(answer(introspected, 'introspection')).toMatchObject({ active: true, aud: 'urn:demo:notes' });

    const refreshed = await person.submit(introspected, {}, '/refresh');
    expect(answer(refreshed, 'refresh')).toMatchObject({ token_type: 'Bearer', expires_in: 600 });
    expect(code(refreshed, 'access-token-value')).not.toBe(code(result, 'access-token-value'));
    expect(code(refreshed, 'refresh-token-value')).toBe(code(result, 'refresh-token-value'));

    const revoked = await person.submit(refreshed, { token: 'refresh_token' }, '/revoke');
    expect(section(revoked, 'revocation')).toContain('200 OK');
    expect(answer(revoked, 'introspection', 0)).toMatchObject({ active: true });
    expect(answer(revoked, 'introspection', 1)).toEqual({ active: false });

    // The button is gone; a page that is still open in another tab has it.
    const body = new URLSearchParams({ _csrf: csrfOf(revoked) });
    const refused = await person.open(`${server.issuer}/playground/result/refresh`, { method: 'POST', body });
    expect(answer(refused, 'refresh')).toMatchObject({ error: 'invalid_grant' });
    expect(section(refused, 'refresh')).toContain('The refresh token is dead');
  });

  test('for an API with opaque tokens shows nothing in them but what introspection tells, until they are revoked', async () => {
    const person = new Person();
    const result = await signIn(person, ['openid', 'files:read'], { api: 'urn:demo:files' });
    expect(section(result, 'access-token')).not.toContain('Claims');
    expect(section(result, 'id-token')).toContain('Claims');
    expect(section(result, 'refresh')).toBe('');

    const asked = await person.submit(result, {}, '/userinfo');
    expect(section(asked, 'userinfo')).toContain('403 Forbidden');
    expect(section(asked, 'userinfo')).toContain('one token, one audience');

    const revoked = await person.submit(asked, { token: 'access_token' }, '/revoke');
    expect(answer(revoked, 'introspection', 0)).toMatchObject({ active: true, scope: 'files:read' });
    expect(answer(revoked, 'introspection', 1)).toEqual({ active: false });
  });

  test('without an API gets a token for userinfo, and says who the person is', async () => {
    const person = new Person();
    const result = await signIn(person, ['openid', 'profile', 'email', 'address', 'phone']);
    const introspected = await person.submit(result, {}, '/introspect');
    expect(answer(introspected, 'introspection')).toMatchObject({ active: true, client_id: 'demo-web' });
    const asked = await person.submit(introspected, {}, '/userinfo');
    expect(answer(asked, 'userinfo')).toMatchObject({
      email: demoSignIn.email,
      email_verified: true,
      given_name: 'Dana',
      phone_number_verified: true,
      address: { country: 'United Kingdom' },
    });
  });

  test('without openid is plain OAuth: no ID token', async () => {
    const result = await signIn(new Person(), ['notes:read'], { api: 'urn:demo:notes' });
    expect(section(result, 'access-token')).toContain('notes:read');
    expect(section(result, 'id-token')).toBe('');
  });

  test('shows the curl command of each call, with the tokens of this flow', async () => {
    const result = await signIn(new Person(), ['openid', 'offline_access', 'files:read'], { api: 'urn:demo:files' });
    const accessToken = code(result, 'access-token-value');
    const refreshToken = code(result, 'refresh-token-value');
    expect(code(result, 'userinfo-command-0')).toContain(`-H 'Authorization: Bearer ${accessToken}'`);
    expect(code(result, 'introspection-command-0')).toContain(`--data-urlencode token=${accessToken}`);
    // Who the API trusts asks about it; what is for userinfo alone, only its own client may ask about.
    expect(code(result, 'introspection-command-0')).toContain('-u demo-service:');
    expect(code(result, 'refresh-command-0')).toContain(`--data-urlencode refresh_token=${refreshToken}`);
    expect(code(result, 'revocation-command-1')).toContain(`--data-urlencode token=${refreshToken}`);
    for (const command of ['introspection', 'refresh', 'revocation']) {
      expect(code(result, `${command}-command-0`)).toMatch(/^curl -sS http:\S+ \\\n {2}-u demo-(web|service):\S+ \\\n/);
    }
  });

  test('that is denied, or finds nobody signed in, ends in a page that says so', async () => {
    const person = new Person();
    const silent = await startFlow(person, ['openid'], { prompt: 'none' });
    expect(errorOn(silent)).toBe('login_required');
    const denied = await goThrough(person, await startFlow(person, ['openid'], { prompt: 'consent' }), 'deny');
    expect(errorOn(denied)).toBe('access_denied');
    expect(denied.html).toContain('Access was denied</h1>');
  });

  test('ends with the session: signing out forgets the tokens', async () => {
    const person = new Person();
    const result = await signIn(person, ['openid']);
    const question = await person.submit(result, {}, '/playground/sign-out');
    expect(question.url).toMatch(/\/logout\?client_id=demo-web&post_logout_redirect_uri=/);
    const home = await person.submit(question, { logout: 'yes' });
    expect(home.url).toBe(`${server.issuer}/playground/signed-out`);
    expect(home.html).toContain('You are signed out');
    expect((await person.open(`${server.issuer}/playground/result`)).html).toContain('Nothing to see yet');
    expect(errorOn(await startFlow(person, ['openid'], { prompt: 'none' }))).toBe('login_required');
  });
});

describe('client credentials through the playground', () => {
  test.each([
    ['urn:demo:notes', 'notes:write'],
    ['urn:demo:files', 'files:write'],
  ])('get a token for %s', async (api, scope) => {
    const person = new Person();
    const result = await send(person, '/playground/client-credentials', [
      ['api', api],
      ['scope', scope],
      ['scope', 'openid'],
    ]);
    expect(result.url).toBe(`${server.issuer}/playground/client-credentials`);
    expect(section(result, 'userinfo')).toBe('');
    const introspected = await person.submit(result, {}, '/introspect');
    expect(answer(introspected, 'introspection')).toMatchObject({
      active: true,
      aud: api,
      scope,
      client_id: 'demo-service',
    });
    expect(code(result, 'request-0')).toContain(`--data-urlencode resource=${api}`);
  });

  test.each([
    ['an opaque token', 'urn:demo:files', 'files:read'],
    ['a JWT', 'urn:demo:notes', 'notes:read'],
  ])('give %s that is dead once it is revoked', async (_what, api, scope) => {
    const person = new Person();
    const fields: [string, string][] = [
      ['api', api],
      ['scope', scope],
    ];
    const result = await send(person, '/playground/client-credentials', fields);
    const revoked = await person.submit(result, { token: 'access_token' }, '/revoke');
    expect(answer(revoked, 'introspection', 1)).toEqual({ active: false });
  });
});

describe('what is not for this browser', () => {
  test('an answer with another state is refused, and leaves no trace', async () => {
    const person = new Person();
    await startFlow(person, ['openid']);
    const page = await person.open(`${server.issuer}/playground/callback?code=stolen&state=other&iss=${server.issuer}`);
    expect(page.response.status).toBe(400);
    expect(errorOn(page)).toBe('state_mismatch');
    expect((await person.open(`${server.issuer}/playground/result`)).html).toContain('Nothing to see yet');
  });

  test('the answer to somebody else’s flow is refused, and stays theirs', async () => {
    const [owner, other] = [new Person(), new Person()];
    await signIn(owner, ['openid']);
    await startFlow(other, ['openid']);
    const cookie = owner.cookies().tessera_playground;
    // The owner's browser goes as far as the answer, and the other one opens it.
    const home = await owner.open(`${server.issuer}/`);
    const body = new URLSearchParams({ _csrf: csrfOf(home), scope: 'openid' });
    const started = await owner.request(`${server.issuer}/playground/authorize`, { method: 'POST', body });
    const answered = await owner.request(started.headers.get('location') ?? '');
    const callback = answered.headers.get('location') ?? '';
    expect(callback).toContain('/playground/callback?code=');
    const stolen = await other.open(callback);
    expect(errorOn(stolen)).toBe('state_mismatch');
    expect((await owner.open(callback)).url).toBe(`${server.issuer}/playground/result`);
    expect(owner.cookies().tessera_playground).toBe(cookie);
  });

  test('another browser sees no tokens, nor does a made-up cookie', async () => {
    await signIn(new Person(), ['openid']);
    const other = new Person();
    other.setCookie('tessera_playground', 'x'.repeat(43));
    const page = await other.open(`${server.issuer}/playground/result`);
    expect(page.html).toContain('Nothing to see yet');
    expect(page.html).not.toContain('access-token');
  });

  test.each([
    '/playground/authorize',
    '/playground/client-credentials',
    '/playground/sign-out',
    '/playground/result/revoke',
    '/playground/client-credentials/introspect',
  ])('a form from elsewhere to %s is refused', async (path) => {
    const person = new Person();
    await person.open(`${server.issuer}/`);
    const body = new URLSearchParams({ scope: 'openid', _csrf: 'guessed' });
    const page = await person.open(`${server.issuer}${path}`, { method: 'POST', body });
    expect(page.response.status).toBe(403);
    expect(errorOn(page)).toBe('csrf');
  });

  test('a call without a token to make it with leads to the page that says so', async () => {
    const person = new Person();
    const home = await person.open(`${server.issuer}/`);
    const body = new URLSearchParams({ _csrf: csrfOf(home) });
    const page = await person.open(`${server.issuer}/playground/result/introspect`, { method: 'POST', body });
    expect(page.html).toContain('Nothing to see yet');
  });
});

describe('tokens', () => {
  test('are in no address and in no line of the log', async () => {
    const person = new Person();
    const result = await signIn(person, ['openid', 'offline_access', 'notes:read'], { api: 'urn:demo:notes' });
    const called = await person.submit(await person.submit(result, {}, '/introspect'), {}, '/refresh');
    expect(called.url).not.toMatch(/[\w-]{43}/);
    const secrets = ['access-token', 'id-token', 'refresh-token'].flatMap((id) => [
      code(result, `${id}-value`),
      code(called, `${id}-value`),
    ]);
    expect(secrets).not.toContain('');
    for (const secret of secrets) expect(logText()).not.toContain(secret);
    expect(logText()).not.toContain(person.cookies().tessera_playground ?? 'absent');
  });
});
