import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient, REDIRECT_URI, unique } from '../../harness/factories.ts';
import { authorizationRequest, authorize, codeFor } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { redeem } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Where a request leads at once: for a refusal, back to the app or to a page. */
async function ask(url: string) {
  const page = await new Person().open(url);
  const back = page.url.startsWith(REDIRECT_URI) ? new URL(page.url).searchParams : undefined;
  return { ...page, back };
}

describe('PKCE', () => {
  test('a public client and a confidential one are refused without it', async () => {
    for (const token_endpoint_auth_method of ['none', 'client_secret_basic'] as const) {
      const client = await createTestClient(server.domains, { metadata: { token_endpoint_auth_method } });
      const request = authorizationRequest(server.issuer, client.id, {
        code_challenge: undefined,
        code_challenge_method: undefined,
      });
      const { back } = await ask(request.url);
      expect(back?.get('error')).toBe('invalid_request');
      expect(back?.get('error_description')).toMatch(/PKCE/);
      expect(back?.get('state')).toBe(request.state);
    }
  });

  test('a confidential client may be registered to go without, and a code made without a challenge takes no verifier', async () => {
    const client = await createTestClient(server.domains, { metadata: { require_pkce: false } });
    const person = await createTestAccount(server.domains);
    const parameters = { code_challenge: undefined, code_challenge_method: undefined };
    const { code, verifier } = await codeFor(server.issuer, client, person, { parameters });
    // RFC 9700, section 4.8.2: a verifier without a challenge is a PKCE downgrade.
    const { body } = await redeem(server.issuer, client, code, verifier);
    expect(body.error).toBe('invalid_grant');
  });

  test.each([
    ['plain', { code_challenge_method: 'plain' }],
    ['no method, which means plain', { code_challenge_method: undefined }],
    ['a method without a challenge', { code_challenge: undefined }],
    ['a challenge that is no SHA-256', { code_challenge: 'short' }],
  ])('%s is refused', async (_title, parameters) => {
    const client = await createTestClient(server.domains);
    const { back } = await ask(authorizationRequest(server.issuer, client.id, parameters).url);
    expect(back?.get('error')).toBe('invalid_request');
  });
});

describe('the answer', () => {
  test('has the state as it was given and names the issuer, for a code and for an error', async () => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const state = 'a b+c&d=é"<>%20';
    const back = await authorize(new Person(), authorizationRequest(server.issuer, client.id, { state }), person);
    expect(back.searchParams.get('state')).toBe(state);
    expect(back.searchParams.get('iss')).toBe(server.issuer);
    const refused = await ask(authorizationRequest(server.issuer, client.id, { state, prompt: 'none' }).url);
    expect(refused.back?.get('state')).toBe(state);
    expect(refused.back?.get('iss')).toBe(server.issuer);
    expect(refused.back?.get('error')).toBe('login_required');
  });

  test('comes without a state where none was given', async () => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const back = await authorize(
      new Person(),
      authorizationRequest(server.issuer, client.id, { state: undefined }),
      person,
    );
    expect([...back.searchParams.keys()].sort()).toEqual(['code', 'iss']);
  });

  test('comes in the fragment or as a form where that was asked, and the form’s script is one that the page allows', async () => {
    const client = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    const person = new Person();
    await authorize(person, authorizationRequest(server.issuer, client.id), credentials);
    const fragment = await person.open(
      authorizationRequest(server.issuer, client.id, { response_mode: 'fragment' }).url,
    );
    expect(new URLSearchParams(new URL(fragment.url).hash.slice(1)).get('code')).toBeTruthy();
    expect(new URL(fragment.url).search).toBe('');
    const form = await person.open(authorizationRequest(server.issuer, client.id, { response_mode: 'form_post' }).url);
    expect(form.html).toContain(`action="${REDIRECT_URI}"`);
    expect(form.html).toMatch(/name="code" value="[^"]+"/);
    const scripts = [...form.html.matchAll(/<script>(.*?)<\/script>/gs)].map(([, script = '']) => script);
    expect(scripts).toHaveLength(1);
    const hash = createHash('sha256')
      .update(scripts[0] ?? '')
      .digest('base64');
    expect(form.response.headers.get('content-security-policy')).toContain(`'sha256-${hash}'`);
  });
});

describe('a request that can’t be trusted ends on a page and never in a redirect', () => {
  test.each([
    ['an unknown client', { client_id: 'nobody' }, 'invalid_client'],
    ['no client', { client_id: undefined }, 'invalid_request'],
    ['an unregistered redirect URI', { redirect_uri: 'https://evil.example/callback' }, 'invalid_redirect_uri'],
    ['no redirect URI, though only one is registered', { redirect_uri: undefined }, 'invalid_request'],
    ['something that is no URI', { redirect_uri: 'javascript:alert(1)' }, 'invalid_redirect_uri'],
  ])('%s', async (_title, parameters, code) => {
    const client = await createTestClient(server.domains);
    const { url } = authorizationRequest(server.issuer, client.id, parameters);
    const response = await new Person().request(url);
    expect(response.status).toBe(400);
    expect(response.headers.get('location')).toBeNull();
    expect(response.headers.get('content-type')).toMatch(/^text\/html/);
    expect(errorOnPage(await response.text())).toBe(code);
  });

  test('a redirect URI that is refused together with another fault is not followed either', async () => {
    const client = await createTestClient(server.domains);
    const { url } = authorizationRequest(server.issuer, client.id, {
      redirect_uri: 'https://evil.example/callback',
      response_type: 'token',
      scope: 'nonsense',
    });
    const response = await new Person().request(url);
    expect(response.status).toBe(400);
    expect(errorOnPage(await response.text())).toBeDefined();
  });
});

describe('parameters', () => {
  test.each([
    ['token', 'unsupported_response_type'],
    ['code id_token', 'unsupported_response_type'],
    ['id_token', 'unsupported_response_type'],
    ['none', 'unsupported_response_type'],
    [undefined, 'invalid_request'],
  ])('response_type %s is refused', async (response_type, error) => {
    const client = await createTestClient(server.domains);
    const { url } = await ask(authorizationRequest(server.issuer, client.id, { response_type }).url);
    expect(url.startsWith(REDIRECT_URI)).toBe(true);
    // Where a token was asked for, the answer belongs in the fragment (OAuth 2.0 Multiple Response Types, section 5).
    const answer = new URLSearchParams(new URL(url).search || new URL(url).hash.slice(1));
    expect(answer.get('error')).toBe(error);
  });

  test.each(['state', 'scope', 'nonce', 'code_challenge', 'response_type', 'prompt'])(
    'a second %s is refused',
    async (name) => {
      const client = await createTestClient(server.domains);
      const url = new URL(authorizationRequest(server.issuer, client.id, { prompt: 'login' }).url);
      url.searchParams.append(name, 'second');
      const { back, html } = await ask(url.href);
      expect(back?.get('error') ?? errorOnPage(html)).toBe('invalid_request');
    },
  );

  test.each(['client_id', 'redirect_uri'])('a second %s is refused on a page', async (name) => {
    const client = await createTestClient(server.domains);
    const url = new URL(authorizationRequest(server.issuer, client.id).url);
    url.searchParams.append(name, url.searchParams.get(name) ?? '');
    const { response, html } = await ask(url.href);
    expect(response.status).toBe(400);
    expect(errorOnPage(html)).toMatch(/^invalid_/);
  });

  test('an unknown one is ignored, and so is an empty one', async () => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const request = authorizationRequest(server.issuer, client.id, {
      utm_source: 'mail',
      acr_values: '',
      audience: 'x',
    });
    const back = await authorize(new Person(), request, person);
    expect(back.searchParams.get('code')).toBeTruthy();
  });

  test.each([
    ['request', 'invalid_request_object'],
    ['request_uri', 'request_uri_not_supported'],
    ['registration', 'registration_not_supported'],
  ])('%s is refused by name', async (name, error) => {
    const client = await createTestClient(server.domains);
    const { back } = await ask(authorizationRequest(server.issuer, client.id, { [name]: 'https://a.example/x' }).url);
    expect(back?.get('error')).toBe(error);
  });

  test('an unknown prompt, none beside another one and a senseless max_age are refused', async () => {
    const client = await createTestClient(server.domains);
    for (const parameters of [{ prompt: 'dance' }, { prompt: 'none login' }, { max_age: '-1' }, { max_age: 'soon' }]) {
      const { back } = await ask(authorizationRequest(server.issuer, client.id, parameters).url);
      expect({ parameters, error: back?.get('error') }).toEqual({ parameters, error: 'invalid_request' });
    }
  });

  test('a scope that the client isn’t registered for is invalid_scope', async () => {
    const client = await createTestClient(server.domains, { metadata: { scope: 'openid profile' } });
    const { back } = await ask(authorizationRequest(server.issuer, client.id, { scope: 'openid email' }).url);
    expect(back?.get('error')).toBe('invalid_scope');
  });

  test('a client without the code grant is refused', async () => {
    const client = await createTestClient(server.domains, {
      metadata: { grant_types: ['client_credentials'], response_types: [] },
    });
    const { back } = await ask(authorizationRequest(server.issuer, client.id).url);
    expect(back?.get('error')).toBe('invalid_request');
    expect(back?.get('error_description')).toMatch(/response_type is not allowed for this client/);
  });

  test('a POST is answered by 303 to the same request as GET', async () => {
    const client = await createTestClient(server.domains);
    const { url } = authorizationRequest(server.issuer, client.id, { state: 'a b&c=d', ui_locales: 'de' });
    const { searchParams } = new URL(url);
    const response = await new Person().request(`${server.issuer}/authorize?claims_locales=de`, {
      method: 'POST',
      body: searchParams,
    });
    expect(response.status).toBe(303);
    const target = new URL(response.headers.get('location') ?? '', server.issuer);
    expect(target.origin + target.pathname).toBe(`${server.issuer}/authorize`);
    searchParams.set('claims_locales', 'de');
    expect(sortedPairs(target.searchParams)).toEqual(sortedPairs(searchParams));
  });

  test('a POST with a repeated parameter stays refused', async () => {
    const client = await createTestClient(server.domains);
    const { url } = authorizationRequest(server.issuer, client.id);
    const body = new URL(url).searchParams;
    body.append('scope', 'openid');
    const page = await new Person().open(`${server.issuer}/authorize`, { method: 'POST', body });
    const error = new URL(page.url).searchParams.get('error') ?? errorOnPage(page.html);
    expect(error).toBe('invalid_request');
  });

  test('a POST that is no form is refused', async () => {
    const response = await new Person().request(`${server.issuer}/authorize`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ client_id: unique('client') }),
    });
    expect(response.status).toBe(415);
    expect(errorOnPage(await response.text())).toBe('unsupported_media_type');
  });
});

function sortedPairs(parameters: URLSearchParams): string[] {
  return [...parameters].map(([name, value]) => `${name}=${value}`).sort();
}
