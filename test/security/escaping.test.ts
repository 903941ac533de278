import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createTestAccount,
  createTestApi,
  createTestClient,
  PASSWORD,
  REDIRECT_URI,
  unique,
} from '../harness/factories.ts';
import { authorizationRequest } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { rawRequest } from './raw-http.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Each breaks out of another place: text, an attribute in either quotes, a script, a comment, a template, a style. */
const PAYLOADS = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "'><svg onload=alert(1)>",
  '</script><script>alert(1)</script>',
  '--><script>alert(1)</script>',
  '<%= process.env %>',
  '{{7*7}}#{7*7}',
  '"onfocus="alert(1)" autofocus="',
  '</title><script>alert(1)</script>',
];

/** Whether a page has an element or attribute that our templates have not: escaped text has neither. */
function expectEscaped(html: string, payload: string): void {
  const withoutValues = html.replace(/"[^"]*"/g, '""');
  expect(withoutValues).not.toMatch(/<[a-z][^>]*\son\w+=/i);
  expect(withoutValues).not.toMatch(/<img[^>]*\ssrc=x|<script>\s*alert/i);
  expect(html).not.toContain(process.env.PATH ?? 'PATH');
  if (/[<>"']/.test(payload)) expect(html).not.toContain(payload);
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

describe('what others say of themselves is text on our pages', () => {
  test.each(PAYLOADS)('in a name, a description or a hint: %s', async (payload) => {
    const scope = unique('scope');
    const api = await createTestApi(server.domains, {
      name: `API ${payload}`.slice(0, 60),
      scopes: [{ scope, description: `reads ${payload}` }],
    });
    const client = await createTestClient(server.domains, {
      metadata: { client_name: `App ${payload}`, scope: `openid profile ${scope}` },
    });
    const { account } = await createTestAccount(server.domains, { name: payload, nickname: payload });
    const person = new Person();
    const request = authorizationRequest(server.issuer, client.id, {
      scope: `openid profile ${scope}`,
      resource: api.identifier,
      login_hint: payload,
      state: payload,
      ui_locales: payload,
      nonce: payload,
    });
    const signIn = await person.open(request.url);
    expectEscaped(signIn.html, payload);
    const input = /<input[^>]*name="login"[^>]*>/.exec(signIn.html)?.[0] ?? '';
    expect(input.replaceAll('&#39;', "'")).toContain(`value="${escaped(payload)}"`);
    const wrong = await person.submit(signIn, { login: payload, password: `x ${payload}` }, '/sign-in');
    expect(wrong.response.status).toBe(400);
    expectEscaped(wrong.html, payload);
    const consent = await person.submit(wrong, { login: account.email, password: PASSWORD }, '/sign-in');
    expect(consent.html).toContain('name="decision"');
    expectEscaped(consent.html, payload);
    expect(consent.html.replaceAll('&#39;', "'")).toContain(`reads ${escaped(payload)}`);
    const back = new URL((await person.submit(consent, { decision: 'allow' }, '/consent')).url);
    expect(back.searchParams.get('state')).toBe(payload);
    expectEscaped((await person.open(`${server.issuer}/logout?client_id=${client.id}`)).html, payload);
  });

  test.each(PAYLOADS)('in a request that is refused: %s', async (payload) => {
    const client = await createTestClient(server.domains);
    const names = [
      'client_id',
      'redirect_uri',
      'scope',
      'response_type',
      'prompt',
      'resource',
      'claims',
      'state',
      'error_description',
    ];
    for (const name of names) {
      const parameters = { redirect_uri: 'https://unregistered.example/', [name]: payload };
      const page = await new Person().open(authorizationRequest(server.issuer, client.id, parameters).url);
      expect(page.response.status).toBe(400);
      expectEscaped(page.html, payload);
    }
    for (const name of ['id_token_hint', 'post_logout_redirect_uri', 'state', 'client_id']) {
      const page = await new Person().open(`${server.issuer}/logout?${new URLSearchParams({ [name]: payload })}`);
      expectEscaped(page.html, payload);
    }
    const encoded = encodeURIComponent(payload);
    for (const path of [`/${encoded}`, `/interaction/${encoded}`, `/authorize/${encoded}`]) {
      const answer = await rawRequest(server.address, {
        path,
        headers: { accept: 'text/html', 'accept-language': encoded, 'x-request-id': encoded },
      });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expectEscaped(answer.text, payload);
    }
  });

  test('also where the library redirects: its own page of a redirect is escaped', async () => {
    const client = await createTestClient(server.domains);
    for (const state of PAYLOADS) {
      const { url } = authorizationRequest(server.issuer, client.id, { prompt: 'none', state });
      const response = await new Person().request(url);
      expect(response.status).toBe(303);
      expect(response.headers.get('location')).not.toMatch(/[<>"\s]/);
      expectEscaped(await response.text(), state);
    }
  });

  test('line breaks never split a header', async () => {
    const client = await createTestClient(server.domains);
    for (const state of [
      'a\r\nSet-Cookie: evil=1',
      'a\nLocation: https://attacker.example',
      'a\u0000b',
      'a\u2028b',
      'a\u560d\u560aX: y',
    ]) {
      const { url } = authorizationRequest(server.issuer, client.id, { prompt: 'none', state });
      const answer = await rawRequest(server.address, { path: url.slice(server.issuer.length) });
      expect(answer.status).toBe(303);
      expect(JSON.stringify(answer.headers['set-cookie'] ?? '')).not.toContain('evil');
      expect(new URL(String(answer.headers.location)).searchParams.get('state')).toBe(state);
    }
  });
});

describe('a client registers no address that a page of ours would run', () => {
  test.each(['javascript:alert(1)', 'data:text/html,<script>alert(1)</script>', 'vbscript:x', ' javascript:alert(1)'])(
    '%s is refused or never linked to',
    async (uri) => {
      for (const member of ['client_uri', 'logo_uri', 'policy_uri', 'tos_uri']) {
        const created = await server.domains.clients.create({
          metadata: {
            client_id: unique('client'),
            redirect_uris: [REDIRECT_URI],
            grant_types: ['authorization_code'],
            response_types: ['code'],
            scope: 'openid',
            [member]: uri,
          },
        });
        if (!created.ok) continue;
        const page = await new Person().open(authorizationRequest(server.issuer, created.client.id).url);
        expect(page.html.toLowerCase()).not.toMatch(/(?:href|src)="\s*(?:javascript|data:text|vbscript)/);
      }
    },
  );
});
