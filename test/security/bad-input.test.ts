import { createHash, randomBytes } from 'node:crypto';
import { Agent, request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DEVICE_CODE_GRANT } from '../harness/devices.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../harness/factories.ts';
import { authorizationRequest, signInForTokens } from '../harness/flows.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { TOKEN_EXCHANGE } from '../harness/token-exchange.ts';
import { introspect, userinfo } from '../harness/token-requests.ts';
import { ENDPOINTS, type EndpointPath } from './endpoints.ts';
import { basic, FORM, formBody, type RawAnswer, rawRequest } from './raw-http.ts';

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer({ environment: { REGISTRATION: 'open', REGISTRATIONS_PER_ADDRESS: '100000' } });
  const metadata = { grant_types: ['authorization_code', 'refresh_token', DEVICE_CODE_GRANT] };
  client = await createTestClient(server.domains, { metadata });
});
afterAll(() => server.close());

type Pair = readonly [string, string];

/** A request that would be right at its endpoint, so that the one thing that is wrong with it is what is tested. */
function rightRequest(path: EndpointPath): Pair[] {
  switch (path) {
    case '/authorize':
      return [...new URL(authorizationRequest(server.issuer, client.id).url).searchParams];
    case '/token':
      return [
        ['grant_type', 'authorization_code'],
        ['code', 'x'],
        ['redirect_uri', 'https://app.example.com/callback'],
        ['code_verifier', 'a'.repeat(43)],
      ];
    case '/device_authorization':
      return [['scope', 'openid']];
    case '/introspect':
    case '/revoke':
      return [['token', 'x']];
    case '/userinfo':
      return [['access_token', 'x']];
    default:
      return [];
  }
}

/** A token request of another grant than the one above, where only that reads the parameter. */
function grantOf(name: string): readonly Pair[] | undefined {
  if (name === 'device_code') return [['grant_type', DEVICE_CODE_GRANT]];
  if (/^(actor|subject|requested)_token/.test(name)) return [['grant_type', TOKEN_EXCHANGE]];
  if (!['refresh_token', 'scope'].includes(name)) return undefined;
  return [
    ['grant_type', 'refresh_token'],
    ['refresh_token', 'x'],
  ];
}

/** Bytes without any order, the same in every run. */
const NOISE = Buffer.concat(
  Array.from({ length: 32 }, (_, index) => createHash('sha256').update(String(index)).digest()),
);

const isAuthenticated = (path: EndpointPath) =>
  ['/token', '/device_authorization', '/introspect', '/revoke'].includes(path);

/** As GET in the query or as POST in the body; as JSON or as a page. */
function send(path: EndpointPath, method: string, pairs: readonly Pair[], headers: Record<string, string> = {}) {
  const encoded = formBody(pairs);
  const authorization: Record<string, string> = isAuthenticated(path) ? { authorization: basic(client) } : {};
  return method === 'GET'
    ? rawRequest(server.address, { path: `${path}?${encoded}`, headers: { ...authorization, ...headers } })
    : rawRequest(server.address, { method, path, headers: { ...FORM, ...authorization, ...headers }, body: encoded });
}

/** The code of a refusal, on a page or in JSON. */
function errorIn({ headers, text }: RawAnswer): string | undefined {
  const isPage = String(headers['content-type']).startsWith('text/html');
  return isPage ? errorOnPage(text) : (JSON.parse(text) as { error?: string }).error;
}

/** A refusal in words: never a fault, and always a code that a program can read. */
function expectAnswered(answer: RawAnswer, what: unknown): void {
  expect({ what, isFault: answer.status >= 500, text: answer.status >= 500 ? answer.text : '' }).toEqual({
    what,
    isFault: false,
    text: '',
  });
  if (answer.status < 400) return;
  const code = errorIn(answer);
  expect({ what, code }).toEqual({ what, code: expect.stringMatching(/^[a-z_]+$/) });
}

const paths = Object.keys(ENDPOINTS) as EndpointPath[];
const formPaths = paths.filter((path) => ENDPOINTS[path].parameters.length > 0);

async function everywhere(change: (right: Pair[], name: string) => readonly Pair[], onlyPaths = formPaths) {
  for (const path of onlyPaths) {
    for (const method of ENDPOINTS[path].methods) {
      for (const name of ENDPOINTS[path].parameters) {
        const pairs = change(
          rightRequest(path).filter(([own]) => own !== name),
          name,
        );
        for (const accept of ['application/json', 'text/html']) {
          expectAnswered(await send(path, method, pairs, { accept }), { path, method, name, accept });
        }
      }
    }
  }
}

describe('a parameter', () => {
  test.each([
    ['a NUL', '\u0000'],
    ['text with a NUL in it', 'abc\u0000def'],
    ['control characters', '\u0001\u001b[31m\u007f'],
    ['an emoji', '👩‍🚀'],
    ['the end of all characters', '\u{10ffff}\ufffe\uffff'],
    ['a number out of range', '1e999'],
    ['a negative number', '-1'],
    ['JSON', '{"a":[{"__proto__":{"isAdmin":true}}]}'],
    ['deep JSON', '['.repeat(5_000)],
    ['SQL', "'; drop table artifacts; --"],
    ['blanks', ' \t '],
    ['five thousand characters', 'a'.repeat(5_000)],
  ])('that is %s is answered at every endpoint, and is never a fault', async (_title, value) => {
    await everywhere((right, name) => [...right, [name, value]]);
  });

  test('with bytes that are no UTF-8 is answered', async () => {
    for (const path of formPaths) {
      for (const name of ENDPOINTS[path].parameters) {
        for (const bytes of ['%ff', '%c3%28', '%ed%a0%80', '%f0%28%8c%28', '%', '%u0041', '%zz']) {
          const body = `${formBody(rightRequest(path).filter(([own]) => own !== name))}&${name}=${bytes}`;
          const headers = { ...FORM, ...(isAuthenticated(path) ? { authorization: basic(client) } : {}) };
          expectAnswered(await rawRequest(server.address, { method: 'POST', path, headers, body }), {
            path,
            name,
            bytes,
          });
          if (ENDPOINTS[path].methods.length === 1) continue;
          expectAnswered(await rawRequest(server.address, { path: `${path}?${body}` }), { path, name, bytes });
        }
      }
    }
  });

  test('given twice is refused where it may be given once', async () => {
    for (const path of [
      '/authorize',
      '/token',
      '/device_authorization',
      '/device',
      '/introspect',
      '/revoke',
    ] as const) {
      for (const name of ENDPOINTS[path].parameters) {
        // Several may be asked for; and an address is read for API keys alone, where two are as good as none.
        if (['resource', 'audience', 'ip_address'].includes(name)) continue;
        const method = path === '/authorize' ? 'GET' : 'POST';
        // Each grant reads its own parameters, and what it doesn't know it ignores (RFC 6749, section 3.2).
        const grant = path === '/token' ? grantOf(name) : undefined;
        const whole: readonly Pair[] = grant ?? rightRequest(path);
        const right = whole.filter(([own]) => own !== name);
        const value = whole.find(([own]) => own === name)?.[1] ?? 'x';
        const answer = await send(path, method, [...right, [name, value], [name, value]]);
        const target = new URL(String(answer.headers.location ?? ''), server.issuer);
        const error = answer.status === 303 ? target.searchParams.get('error') : errorIn(answer);
        expect({ path, name, error }).toEqual({ path, name, error: 'invalid_request' });
      }
    }
  });

  test('in brackets, with dots or by the name of a prototype is none that is known', async () => {
    const names = [
      '__proto__',
      'constructor',
      'prototype',
      'toString',
      'hasOwnProperty',
      '__proto__[isAdmin]',
      'constructor.prototype.isAdmin',
      '',
      '[]',
      'a[b][c]',
    ];
    for (const path of formPaths) {
      for (const method of ENDPOINTS[path].methods) {
        const known = ENDPOINTS[path].parameters.flatMap((name) => [`${name}[]`, `${name}[0]`, `${name}[a]`]);
        for (const name of [...names, ...known]) {
          expectAnswered(await send(path, method, [...rightRequest(path), [name, 'x']]), { path, method, name });
        }
      }
    }
    expect(({} as Record<string, unknown>).isAdmin).toBeUndefined();
  });

  test('scope of ten thousand words is refused, and so are ten thousand parameters', async () => {
    const api = await createTestApi(server.domains);
    const service = await createServiceClient(server.domains, api.scopes.map(({ scope }) => scope).join(' '));
    const words = Array.from({ length: 10_000 }, (_, index) => `s${index}`).join(' ');
    const headers = { ...FORM, authorization: basic(service) };
    const grant = 'grant_type=client_credentials';
    for (const body of [`${grant}&scope=${encodeURIComponent(words)}`, `${grant}${'&a=b'.repeat(10_000)}`]) {
      const answer = await rawRequest(server.address, { method: 'POST', path: '/token', headers, body });
      expectAnswered(answer, body.slice(0, 40));
      expect(answer.status).toBeLessThan(500);
    }
    const few = Array.from({ length: 4_000 }, (_, index) => `s${index}`).join(' ');
    const answer = await rawRequest(server.address, {
      method: 'POST',
      path: '/token',
      headers,
      body: `${grant}&scope=${encodeURIComponent(few)}`,
    });
    expect({ status: answer.status, error: JSON.parse(answer.text).error }).toEqual({
      status: 400,
      error: 'invalid_scope',
    });
  });
});

describe('a token', () => {
  test('that is malformed in any way is inactive and no error', async () => {
    const tokens = [
      'x',
      ' ',
      '.',
      '..',
      'a.b.c',
      'eyJhbGciOiJub25lIn0.e30.',
      'eyJhbGciOiJSUzI1NiJ9.e30.AAAA',
      '\u0000',
      'a\u0000b',
      '👩‍🚀',
      'a'.repeat(20_000),
      `${'a'.repeat(4_000)}.${'b'.repeat(4_000)}.${'c'.repeat(4_000)}`,
      '[object Object]',
      'null',
      "' or 1=1 --",
      randomBytes(32).toString('base64url'),
    ];
    for (const token of tokens) {
      const { status, body } = await introspect(server.issuer, client, token);
      expect({ token: token.slice(0, 30), status, body }).toEqual({
        token: token.slice(0, 30),
        status: 200,
        body: { active: false },
      });
    }
  });

  test('that is malformed opens no userinfo', async () => {
    for (const token of ['x', 'a.b.c', 'eyJhbGciOiJub25lIn0.e30.', 'a'.repeat(5_000)]) {
      expect((await userinfo(server.issuer, token)).status).toBe(401);
    }
  });
});

describe('credentials of a client', () => {
  const credentials: [string, string | string[]][] = [
    ['Basic without anything', 'Basic'],
    ['Basic with blanks', 'Basic  '],
    ['Basic that is no base64', 'Basic ****'],
    ['Basic without a colon', `Basic ${Buffer.from('abc').toString('base64')}`],
    ['Basic with bytes that are no UTF-8', `Basic ${Buffer.from([0xff, 0xfe, 0x3a, 0xff]).toString('base64')}`],
    ['Basic with a NUL', `Basic ${Buffer.from('a\u0000b:c\u0000').toString('base64')}`],
    ['Basic with half a percent', `Basic ${Buffer.from('%:%zz').toString('base64')}`],
    ['Basic with an encoded NUL', `Basic ${Buffer.from('a%00:b%00').toString('base64')}`],
    ['Basic of an empty name', `Basic ${Buffer.from(':x').toString('base64')}`],
    ['Basic of a prototype', `Basic ${Buffer.from('__proto__:x').toString('base64')}`],
    ['Basic of great length', `Basic ${Buffer.from(`a:${'b'.repeat(9_000)}`).toString('base64')}`],
    ['Bearer', 'Bearer x'],
    ['Digest', 'Digest username="x"'],
    ['two headers', ['Basic YTpi', 'Basic YTpj']],
  ];

  test.each(credentials)('%s are refused with a code', async (_title, authorization) => {
    for (const path of ['/token', '/introspect', '/revoke'] as const) {
      const body = formBody(rightRequest(path));
      const answer = await rawRequest(server.address, {
        method: 'POST',
        path,
        headers: { ...FORM, authorization },
        body,
      });
      expectAnswered(answer, path);
      expect([400, 401]).toContain(answer.status);
    }
  });

  test('in two places at once are refused', async () => {
    const answer = await send('/token', 'POST', [
      ...rightRequest('/token'),
      ['client_id', client.id],
      ['client_secret', client.secret],
    ]);
    expect({ status: answer.status, error: JSON.parse(answer.text).error }).toEqual({
      status: 400,
      error: 'invalid_request',
    });
  });
});

describe('a body', () => {
  test('over the limit is refused with a code, and the connection goes on', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const answer = (path: string, body: string | undefined, headers: Record<string, string>) =>
      new Promise<{ status: number; text: string; localPort: number | undefined }>((resolve, reject) => {
        const { hostname, port } = new URL(server.address);
        const sent = httpRequest(
          { agent, hostname, port, path, method: body === undefined ? 'GET' : 'POST', headers },
          (response) => {
            let text = '';
            const { localPort } = response.socket;
            response.on('data', (chunk: Buffer) => {
              text += chunk;
            });
            response.on('end', () => resolve({ status: response.statusCode ?? 0, text, localPort }));
          },
        );
        sent.on('error', reject);
        sent.end(body);
      });
    try {
      for (const path of [
        '/token',
        '/introspect',
        '/revoke',
        '/userinfo',
        '/authorize',
        '/logout',
        '/device_authorization',
      ]) {
        for (const size of [60_000, 300_000]) {
          const headers = { ...FORM, authorization: basic(client), accept: 'application/json' };
          const { status, text } = await answer(path, `token=${'a'.repeat(size)}`, headers);
          expect({ path, size, isRefused: [400, 413].includes(status) }).toEqual({ path, size, isRefused: true });
          expect((JSON.parse(text) as { error: string }).error).toMatch(/^(invalid_request|payload_too_large)$/);
          const next = await answer('/jwks', undefined, {});
          expect(next.status).toBe(200);
        }
      }
    } finally {
      agent.destroy();
    }
  });

  test('over the limit in chunks, whose length nobody announced, is refused too', async () => {
    for (const path of ['/token', '/introspect', '/authorize', '/device', '/interaction/x/sign-in']) {
      const answer = await rawRequest(server.address, {
        method: 'POST',
        path,
        headers: { ...FORM, authorization: basic(client) },
        body: `token=${'a'.repeat(200_000)}`,
        isChunked: true,
      });
      expectAnswered(answer, path);
      expect([400, 413]).toContain(answer.status);
    }
  });

  test.each(['application/json', 'text/plain', 'multipart/form-data; boundary=x', 'application/xml', 'x', ''])(
    'of the type "%s" is refused by name',
    async (type) => {
      for (const path of [
        '/token',
        '/introspect',
        '/revoke',
        '/authorize',
        '/logout',
        '/device',
        '/interaction/x/consent',
      ]) {
        const headers = { authorization: basic(client), 'content-type': type };
        const answer = await rawRequest(server.address, { method: 'POST', path, headers, body: '{"token":"x"}' });
        expectAnswered(answer, path);
        expect([400, 415]).toContain(answer.status);
      }
    },
  );

  test.each(['utf-16', 'latin1', 'x-nonsense', 'utf-7', '"'])('in the charset %s is no fault', async (charset) => {
    for (const path of ['/token', '/introspect', '/revoke', '/authorize', '/device', '/interaction/x/sign-in']) {
      const headers = { authorization: basic(client), 'content-type': `${FORM['content-type']}; charset=${charset}` };
      const answer = await rawRequest(server.address, { method: 'POST', path, headers, body: 'token=%ff\u00ff' });
      expectAnswered(answer, { path, charset });
    }
  });

  test('that would be too long as a URL is refused in place of a redirect that nobody can read', async () => {
    for (const path of ['/authorize', '/logout']) {
      const body = Buffer.from(`state=${'\u00e9'.repeat(5_000)}`);
      const answer = await rawRequest(server.address, { method: 'POST', path, headers: FORM, body });
      expectAnswered(answer, path);
      expect(answer.status).toBe(413);
    }
  });

  test('of raw bytes, of nothing, and of an encoding that isn’t what it says, is no fault', async () => {
    const bodies = [Buffer.alloc(0), Buffer.from([0xff, 0xfe, 0x00, 0x3d, 0x26]), NOISE, Buffer.from('&&&==&=')];
    for (const path of [
      ...formPaths,
      '/interaction/x/sign-in',
      '/interaction/x/consent',
      '/interaction/x/switch-account',
    ]) {
      for (const body of bodies) {
        for (const extra of [
          {},
          { 'content-encoding': 'gzip' },
          { 'content-encoding': 'br' },
          { 'content-encoding': 'x' },
        ]) {
          const headers = { ...FORM, authorization: basic(client), ...extra };
          const answer = await rawRequest(server.address, { method: 'POST', path, headers, body });
          expectAnswered(answer, { path, bytes: body.length, extra });
        }
      }
    }
  });
});

describe('cookies', () => {
  test('of garbage are ignored, and the person signs in as ever', async () => {
    const names = [
      'tessera_session',
      'tessera_session.sig',
      'tessera_interaction',
      'tessera_interaction.sig',
      'tessera_csrf',
      'tessera_client',
    ];
    const values = ['', 'x', '%00', '%ff', '"', 'a'.repeat(2_000), '__proto__', 'null', 'a%0d%0ab', '\u00ff', '=;=;='];
    for (const value of values) {
      const cookie = names.map((name) => `${name}=${value}`).join('; ');
      for (const path of [
        `/authorize?${formBody(rightRequest('/authorize'))}`,
        '/interaction/x',
        '/authorize/x',
        '/logout',
        '/logout/success',
      ]) {
        const answer = await rawRequest(server.address, { path, headers: { cookie, accept: 'text/html' } });
        expectAnswered(answer, { path, value });
      }
    }
    const person = new Person();
    person.setCookie('tessera_session', 'garbage');
    person.setCookie('tessera_session.sig', 'garbage');
    const credentials = await createTestAccount(server.domains);
    expect((await signInForTokens(server.issuer, client, credentials, { person })).access_token).toBeTruthy();
  });
});

describe('the form of a sign-in', () => {
  const fields: [string, string][] = [
    ['a NUL in the name', 'login=a%00b&password=x'],
    ['a NUL in the password', 'login=a&password=a%00b'],
    ['no UTF-8', 'login=%ff%fe&password=%ff'],
    ['half of a character', 'login=%ed%a0%80&password=%ed%a0%80'],
    ['a name of great length', `login=${'a'.repeat(8_000)}&password=x`],
    ['a password of great length', `login=a&password=${'a'.repeat(12_000)}`],
    ['a name given twice', 'login=a&login=b&password=x'],
    ['a list for a name', 'login[]=a&password=x'],
    ['an object for a name', 'login[a]=b&password[c]=d'],
    ['a prototype', '__proto__[login]=a&constructor[prototype][password]=x'],
    ['nothing', ''],
    ['blanks', 'login=%20&password=%20'],
    ['emoji', 'login=%F0%9F%91%A9&password=%F0%9F%91%A9'],
    ['many fields', 'a=b&'.repeat(3_000)],
  ];

  test.each(fields)('with %s is refused and no fault, and the person may go on', async (_title, body) => {
    const credentials = await createTestAccount(server.domains);
    const person = new Person();
    const page = await person.open(authorizationRequest(server.issuer, client.id).url);
    const csrf = /name="_csrf" value="([^"]*)"/.exec(page.html)?.[1] ?? '';
    const response = await person.request(`${page.url}/sign-in`, {
      method: 'POST',
      headers: FORM,
      body: `_csrf=${csrf}&${body}`,
    });
    expect([400, 413]).toContain(response.status);
    expect(await response.text()).toMatch(/^<!doctype html>/);
    const { login, password } = credentials;
    expect((await person.submit(page, { login, password }, '/sign-in')).html).toContain('name="decision"');
  });
});

describe('an interaction that expired', () => {
  test('is a page that says so and leads back to the app, at every step of it', async () => {
    const own = await createTestClient(server.domains, { metadata: { client_uri: 'https://app.example.com/start' } });
    const credentials = await createTestAccount(server.domains);
    const person = new Person();
    const page = await person.open(authorizationRequest(server.issuer, own.id).url);
    await expire(own.id);
    const seen = [
      await person.open(page.url),
      await person.submit(page, { login: credentials.login, password: credentials.password }, '/sign-in'),
      await person.open(`${page.url}/cancel`),
      await person.open(`${server.issuer}/authorize/${new URL(page.url).pathname.split('/')[2]}`),
    ];
    for (const { response, html } of seen) {
      expect(response.status).toBe(400);
      expect(errorOnPage(html)).toBe('invalid_request');
      expect(html).toContain('This sign-in is no longer open');
      expect(html).toContain('href="https://app.example.com/start"');
    }
    const again = await person.open(authorizationRequest(server.issuer, own.id).url);
    expect(
      (await person.submit(again, { login: credentials.login, password: credentials.password }, '/sign-in')).html,
    ).toContain('name="decision"');
  });

  /** Moves the end of a client's interactions into the past, as time would. */
  async function expire(clientId: string): Promise<void> {
    const { knex } = server.domains.database;
    const rows: { id: Buffer; payload: { exp: number; params: { client_id: string } } }[] = await knex('artifacts')
      .where({ kind: 'Interaction' })
      .select('id', 'payload');
    const own = rows.filter(({ payload }) => payload.params.client_id === clientId);
    expect(own).toHaveLength(1);
    const ended = Math.floor(Date.now() / 1000) - 3_600;
    for (const { id, payload } of own) {
      const expired = { expires_at: new Date(ended * 1000), payload: JSON.stringify({ ...payload, exp: ended }) };
      await knex('artifacts').where({ id }).update(expired);
    }
  }
});

describe('a method or path that is none of ours', () => {
  test('is answered, never passed through and never a fault', async () => {
    for (const path of [...paths, '/', '/health/ready', '/interaction/x', '/assets/tessera.css']) {
      for (const method of ['HEAD', 'OPTIONS', 'TRACE', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'M-SEARCH']) {
        const answer = await rawRequest(server.address, { method, path, headers: { 'x-secret': 'reflected' } });
        expect({ path, method, isFault: answer.status >= 500 }).toEqual({ path, method, isFault: false });
        expect(answer.text).not.toContain('reflected');
        if (method === 'HEAD') expect(answer.text).toBe('');
      }
    }
  });

  test.each([
    '//authorize',
    '/authorize/',
    '/%61uthorize',
    '/AUTHORIZE',
    '/authorize%00',
    '/authorize%2f',
    '/authorize;x=1',
    '/./authorize',
    '/interaction/../admin',
    '/interaction/%2e%2e/admin',
    '/admin',
    '/admin/api/v1/clients',
    '/assets/../package.json',
    '/assets/%2e%2e/%2e%2e/package.json',
    '/assets/..%2f..%2fpackage.json',
    '/assets/%00',
    '/assets/.env',
    '/.env',
    '/.git/config',
    '/metrics',
    '/device/x',
    '/par',
    '/register',
    '/backchannel',
    '/%',
    '/%ff',
    '/%c0%ae%c0%ae/',
    '/\\..\\',
    '/token%0d%0aX:%20y',
    `/${'a/'.repeat(2_000)}`,
  ])('%s is found nowhere', async (path) => {
    for (const accept of ['text/html', 'application/json']) {
      const answer = await rawRequest(server.address, { path, headers: { accept } });
      expectAnswered(answer, path);
      expect(answer.status).toBeGreaterThanOrEqual(path.toLowerCase().endsWith('authorize') ? 300 : 400);
      expect(answer.text).not.toMatch(/"dependencies"|"tessera",/);
    }
  });

  test('is a host or target in another form and changes nothing', async () => {
    for (const path of ['http://attacker.example/authorize', 'https://attacker.example/', '*']) {
      const answer = await rawRequest(server.address, { path, method: path === '*' ? 'OPTIONS' : 'GET' });
      expect(answer.status).toBeLessThan(500);
      expect(String(answer.headers.location ?? '')).not.toContain('attacker.example');
    }
  });
});
