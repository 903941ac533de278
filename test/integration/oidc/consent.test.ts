import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount, createTestApi, createTestClient, REDIRECT_URI, unique } from '../../harness/factories.ts';
import { authorizationRequest, signInForTokens } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { redeem, userinfo } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

type Page = { url: string; html: string };
type Credentials = { login: string; password: string };

const isConsent = ({ html }: Page) => html.includes('name="decision"');
const backFrom = ({ url }: Page) => (url.startsWith(REDIRECT_URI) ? new URL(url).searchParams : undefined);

/** A person in a browser of their own, right after signing in. */
async function signIn(clientId: string, credentials: Credentials, parameters: Record<string, string> = {}) {
  const person = new Person();
  const request = authorizationRequest(server.issuer, clientId, parameters);
  const { login, password } = credentials;
  const page = await person.submit(await person.open(request.url), { login, password }, '/sign-in');
  return { person, page, request };
}

/** The parts of a consent page under its headings for what is new and what has been allowed. */
function permissionsOn({ html }: Page) {
  const sections = [...html.matchAll(/<section class="([^"]*)">(.*?)<\/section>/gs)];
  const textOf = (isGranted: boolean) =>
    sections
      .filter(([, names]) => names?.includes('permissions--granted') === isGranted)
      .map(([, , content]) => content)
      .join('');
  return { asked: textOf(false), granted: textOf(true) };
}

describe('consent', () => {
  test('that is denied goes back to the app as access_denied, with its state and the issuer', async () => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    const { person, page, request } = await signIn(client.id, credentials);
    expect(isConsent(page)).toBe(true);
    const back = backFrom(await person.submit(page, { decision: 'deny' }, '/consent'));
    expect(back?.get('error')).toBe('access_denied');
    expect(back?.get('state')).toBe(request.state);
    expect(back?.get('iss')).toBe(server.issuer);
    expect(back?.get('code')).toBeNull();
    // Nothing was remembered of it.
    expect(isConsent((await signIn(client.id, credentials)).page)).toBe(true);
  });

  test('that is cancelled on the sign-in page goes back as access_denied too', async () => {
    const client = await createTestClient(server.domains);
    const person = new Person();
    const request = authorizationRequest(server.issuer, client.id);
    const page = await person.open(request.url);
    const cancel = /href="([^"]*\/cancel)"/.exec(page.html)?.[1] ?? '';
    const back = backFrom(await person.open(new URL(cancel, page.url).href));
    expect(back?.get('error')).toBe('access_denied');
    expect(back?.get('state')).toBe(request.state);
  });

  test('is asked for once: another browser of the same person isn’t asked again', async () => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    await signInForTokens(server.issuer, client, credentials);
    const { page } = await signIn(client.id, credentials);
    expect(backFrom(page)?.get('code')).toBeTruthy();
    const somebodyElse = await createTestAccount(server.domains);
    expect(isConsent((await signIn(client.id, somebodyElse)).page)).toBe(true);
    const otherClient = await createTestClient(server.domains);
    expect(isConsent((await signIn(otherClient.id, credentials)).page)).toBe(true);
  });

  test('is asked again for a new scope, and the page tells what is new from what was allowed', async () => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    await signInForTokens(server.issuer, client, credentials, { parameters: { scope: 'openid email' } });
    const { page, person } = await signIn(client.id, credentials, { scope: 'openid email phone' });
    const { asked, granted } = permissionsOn(page);
    expect(asked).toContain('phone number');
    expect(asked).not.toContain('email address');
    expect(granted).toContain('email address');
    expect(granted).not.toContain('phone number');
    expect(backFrom(await person.submit(page, { decision: 'allow' }, '/consent'))?.get('code')).toBeTruthy();
    const later = await signIn(client.id, credentials, { scope: 'openid email phone' });
    expect(backFrom(later.page)?.get('code')).toBeTruthy();
  });

  test('to less than was asked for is no consent: the scopes of a denied request stay out of later tokens', async () => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains, { phoneNumber: '+41 44 668 18 00' });
    await signInForTokens(server.issuer, client, credentials);
    const { page, person } = await signIn(client.id, credentials, { scope: 'openid phone' });
    await person.submit(page, { decision: 'deny' }, '/consent');
    const tokens = await signInForTokens(server.issuer, client, credentials, { person });
    expect((await userinfo(server.issuer, tokens.access_token)).body).toEqual({ sub: credentials.account.id });
  });

  test('names the API and its scopes in the words that it was registered with', async () => {
    const api = await createTestApi(server.domains, {
      name: 'The Ledger',
      scopes: [{ scope: `ledger:${Date.now()}`, description: 'See <your> ledger' }],
    });
    const scope = api.scopes[0]?.scope ?? '';
    const client = await createTestClient(server.domains, { metadata: { scope: `openid ${scope}` } });
    const credentials = await createTestAccount(server.domains);
    const parameters = { scope: `openid ${scope}`, resource: api.identifier };
    const { page, person } = await signIn(client.id, credentials, parameters);
    const { asked } = permissionsOn(page);
    expect(asked).toContain('The Ledger');
    expect(asked).toContain('See &lt;your&gt; ledger');
    await person.submit(page, { decision: 'allow' }, '/consent');
    expect(backFrom((await signIn(client.id, credentials, parameters)).page)?.get('code')).toBeTruthy();
    // The same scope for itself alone, without the API, is another question and not one that was answered.
    const tokens = await signInForTokens(server.issuer, client, credentials);
    expect(tokens.scope).toBe('openid');
  });

  test('lists scopes in one order, however they were asked for and remembered', async () => {
    const scopes = ['b', 'a', 'c'].map((name) => ({ scope: unique(`order:${name}`), description: `Read ${name}` }));
    const api = await createTestApi(server.domains, { scopes });
    const names = scopes.map(({ scope }) => scope);
    const client = await createTestClient(server.domains, {
      metadata: { scope: ['openid profile email phone', ...names].join(' ') },
    });
    const credentials = await createTestAccount(server.domains);
    const everything = ['openid', 'profile', 'email', 'phone', ...names];
    const askFor = (asked: readonly string[]) =>
      signIn(client.id, credentials, { scope: asked.join(' '), resource: api.identifier, prompt: 'consent' });
    const listIn = (html: string) => [...html.matchAll(/<li>([^<]+)<\/li>/g)].map(([, text]) => text);
    const first = await askFor(everything.toReversed());
    const inOrder = listIn(permissionsOn(first.page).asked);
    expect(inOrder).toEqual([
      'Recognise you when you come back',
      'See your name, picture and other profile details',
      'See your email address',
      'See your phone number',
      'Read b',
      'Read a',
      'Read c',
    ]);
    await first.person.submit(first.page, { decision: 'allow' }, '/consent');
    for (const asked of [everything, everything.toSorted()]) {
      const { page, person } = await askFor(asked);
      expect(listIn(permissionsOn(page).granted)).toEqual(inOrder);
      await person.submit(page, { decision: 'allow' }, '/consent');
    }
  });

  test('is asked of a native app every time, because anybody can pose as one', async () => {
    const client = await createTestClient(server.domains, {
      metadata: { application_type: 'native', token_endpoint_auth_method: 'none' },
    });
    const credentials = await createTestAccount(server.domains);
    await signInForTokens(server.issuer, client, credentials);
    const { page } = await signIn(client.id, credentials);
    expect(isConsent(page)).toBe(true);
    expect(permissionsOn(page).granted).not.toBe('');
  });

  test('goes with its client: one that is registered anew under the same id is asked about again', async () => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    await signInForTokens(server.issuer, client, credentials);
    await server.domains.clients.delete(client.id);
    await createTestClient(server.domains, { metadata: { client_id: client.id } });
    expect(isConsent((await signIn(client.id, credentials)).page)).toBe(true);
  });

  test('goes with its account, row and all', async () => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    await signInForTokens(server.issuer, client, credentials);
    const { id } = credentials.account;
    expect(await server.domains.consents.find(id, client.id)).toBeDefined();
    await server.domains.accounts.delete(id);
    expect(await server.domains.consents.find(id, client.id)).toBeUndefined();
  });

  test('that is given in several tabs at once is remembered whole', async () => {
    const { consents } = server.domains;
    const client = await createTestClient(server.domains);
    const { id } = (await createTestAccount(server.domains)).account;
    const tabs = Array.from({ length: 8 }, (_, tab) => ({
      scopes: ['openid', `scope-${tab}`],
      claims: [`claim-${tab}`],
      resourceScopes: { 'urn:one': ['read', `do-${tab}`], [`urn:only-${tab}`]: ['read'] },
    }));
    expect(await Promise.all(tabs.map((tab) => consents.add(id, client.id, tab)))).not.toContain(false);
    const remembered = await consents.find(id, client.id);
    expect(remembered?.scopes.toSorted()).toEqual(['openid', ...tabs.map((_, tab) => `scope-${tab}`)]);
    expect(remembered?.claims.toSorted()).toEqual(tabs.map((_, tab) => `claim-${tab}`));
    const { 'urn:one': shared, ...others } = remembered?.resourceScopes ?? {};
    expect(shared?.toSorted()).toEqual([...tabs.map((_, tab) => `do-${tab}`), 'read']);
    expect(others).toEqual(Object.fromEntries(tabs.map((_, tab) => [`urn:only-${tab}`, ['read']])));
  });

  test.each(['client', 'account'] as const)('for a deleted %s ends on the page of an expired sign-in', async (gone) => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    const { person, page } = await signIn(client.id, credentials);
    expect(isConsent(page)).toBe(true);
    if (gone === 'client') await server.domains.clients.delete(client.id);
    else await server.domains.accounts.delete(credentials.account.id);
    const answer = await person.submit(page, { decision: 'allow' }, '/consent');
    expect(answer.response.status).toBe(400);
    expect(answer.html).toContain('This sign-in is no longer open');
    expect(await server.domains.consents.find(credentials.account.id, client.id)).toBeUndefined();
  });

  test('offline_access is given only where prompt=consent asked for it', async () => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    const without = await signInForTokens(server.issuer, client, credentials, {
      parameters: { scope: 'openid offline_access' },
    });
    expect(without.refresh_token).toBeUndefined();
    expect(without.scope).toBe('openid');
    const withIt = await signInForTokens(server.issuer, client, credentials, {
      parameters: { scope: 'openid offline_access', prompt: 'consent' },
    });
    expect(withIt.refresh_token).toBeDefined();
    expect(withIt.scope).toBe('openid offline_access');
  });

  test('a decision that is neither allow nor deny decides nothing', async () => {
    const client = await createTestClient(server.domains);
    const { person, page } = await signIn(client.id, await createTestAccount(server.domains));
    const refused = await person.submit(page, { decision: 'maybe' }, '/consent');
    expect(refused.response.status).toBe(400);
    const back = backFrom(await person.submit(page, { decision: 'allow' }, '/consent'));
    expect(back?.get('code')).toBeTruthy();
  });

  describe('for another account', () => {
    /** Presses "Use another account", as a browser does. */
    function switchAccount(person: Person, page: Page) {
      const action = / formaction="([^"]+)"/.exec(page.html)?.[1] ?? '';
      const html = page.html.replace(/action="[^"]*\/consent"/, `action="${action}"`);
      return person.submit({ ...page, html }, {}, '/switch-account');
    }

    test('begins the same request anew: sign-in, its own consent, a code for the first verifier and state', async () => {
      const client = await createTestClient(server.domains);
      const [first, second] = [await createTestAccount(server.domains), await createTestAccount(server.domains)];
      const asked = { scope: 'openid offline_access', prompt: 'consent', login_hint: first.login };
      const { person, page, request } = await signIn(client.id, first, asked);
      expect(page.html).toContain(first.login);
      const signInPage = await switchAccount(person, page);
      expect(signInPage.html).toContain('name="password"');
      expect(signInPage.html).not.toContain(first.login);
      const { login, password } = second;
      // The library signs the first account out by a form that sends itself.
      const signOut = await person.submit(signInPage, { login, password }, '/sign-in');
      const consentPage = await person.submit(signOut, {}, '/logout/confirm');
      expect(isConsent(consentPage)).toBe(true);
      expect(consentPage.html).toContain(second.login);
      const back = backFrom(await person.submit(consentPage, { decision: 'allow' }, '/consent'));
      expect(back?.get('state')).toBe(request.state);
      const { body } = await redeem(server.issuer, client, back?.get('code') ?? '', request.verifier);
      const claims = JSON.parse(Buffer.from(String(body.id_token).split('.')[1] ?? '', 'base64url').toString());
      expect(claims).toMatchObject({ sub: second.account.id, nonce: request.nonce });
      expect(body.refresh_token).toBeDefined();
      expect(await server.domains.consents.find(first.account.id, client.id)).toBeUndefined();
    });

    test('is not offered where the request names whose account it wants', async () => {
      const client = await createTestClient(server.domains);
      const account = await createTestAccount(server.domains);
      const claims = JSON.stringify({ id_token: { sub: { value: account.account.id } } });
      const { person, page } = await signIn(client.id, account, { claims });
      expect(isConsent(page)).toBe(true);
      expect(page.html).not.toContain('switch-account');
      const html = page.html.replace('/consent"', '/switch-account"');
      expect((await person.submit({ ...page, html }, {}, '/switch-account')).response.status).toBe(400);
    });

    test('wants the form of the page', async () => {
      const client = await createTestClient(server.domains);
      const { person, page } = await signIn(client.id, await createTestAccount(server.domains));
      const path = `${new URL(page.url).pathname}/switch-account`;
      const forged = await person.request(`${server.issuer}${path}`, { method: 'POST', body: new URLSearchParams() });
      expect(forged.status).toBe(403);
    });
  });

  test('both decisions are on record', async () => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    const first = await signIn(client.id, credentials);
    await first.person.submit(first.page, { decision: 'deny' }, '/consent');
    await signInForTokens(server.issuer, client, credentials);
    const events = await server.domains.audit.tail({ limit: 100, types: ['consent.denied', 'consent.granted'] });
    const own = events.filter(({ clientId }) => clientId === client.id).map(({ type }) => type);
    expect(own.sort()).toEqual(['consent.denied', 'consent.granted']);
  });
});
