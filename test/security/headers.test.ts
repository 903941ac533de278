import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient, PASSWORD, type TestClient } from '../harness/factories.ts';
import { authorizationRequest, codeFor } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { redeem } from '../harness/token-requests.ts';
import { basic, FORM, formBody, type RawAnswer, type RawRequest, rawRequest } from './raw-http.ts';

let http: TestServer;
let https: TestServer;
const HTTPS_ISSUER = 'https://id.example.com';

beforeAll(async () => {
  http = await startTestServer();
  https = await startTestServer({ environment: { ISSUER: HTTPS_ISSUER } });
});
afterAll(async () => {
  await http.close();
  await https.close();
});

const one = (answer: RawAnswer, name: string) => String(answer.headers[name] ?? '');
const HTML = { accept: 'text/html' };
const JSON_WANTED = { accept: 'application/json' };
/** Of the requests below. */
const PUBLIC_DOCUMENTS = ['discovery', 'authorization server metadata', 'keys'];

/** Every address, and every way to be refused there. */
function requestsTo(client: TestClient): Record<string, RawRequest> {
  const authorization = basic(client);
  const form = (path: string, pairs: [string, string][], headers = {}): RawRequest => ({
    method: 'POST',
    path,
    headers: { ...FORM, ...JSON_WANTED, authorization, ...headers },
    body: formBody(pairs),
  });
  return {
    discovery: { path: '/.well-known/openid-configuration' },
    'authorization server metadata': { path: '/.well-known/oauth-authorization-server' },
    keys: { path: '/jwks' },
    live: { path: '/health/live' },
    ready: { path: '/health/ready' },
    'authorization error page': { path: '/authorize?client_id=nobody', headers: HTML },
    'authorization error as JSON': { path: '/authorize?client_id=nobody', headers: JSON_WANTED },
    'token error': form('/token', [['grant_type', 'authorization_code']]),
    'token refusal of the client': form('/token', [], { authorization: basic({ id: client.id, secret: 'wrong' }) }),
    introspection: form('/introspect', [['token', 'x']]),
    revocation: form('/revoke', [['token', 'x']]),
    'userinfo without token': { path: '/userinfo' },
    'userinfo error page': { path: '/userinfo', headers: HTML },
    'device authorization refusal': form('/device_authorization', [['scope', 'openid']]),
    'sign-in page of a device': { path: '/device', headers: HTML },
    'sign-in page of a device with its code': { path: '/device?user_code=BCDF-GHJK', headers: HTML },
    'sign-in refusal of a device': {
      method: 'POST',
      path: '/device',
      headers: { ...FORM, ...HTML },
      body: formBody([['user_code', 'BCDF-GHJK']]),
    },
    'unknown interaction': { path: '/interaction/nothing', headers: HTML },
    'sign-out page': { path: '/logout', headers: HTML },
    'signed-out page': { path: '/logout/success', headers: HTML },
    'first page': { path: '/', headers: HTML },
    'unknown page': { path: '/nothing', headers: HTML },
    'unknown address as JSON': { path: '/nothing', headers: JSON_WANTED },
    'form of another kind': { method: 'POST', path: '/authorize', headers: { ...HTML, 'content-type': 'text/xml' } },
    'method not allowed': { method: 'DELETE', path: '/health/live' },
  };
}

/** The pages of a sign-in, which hang on cookies. */
async function pagesOfASignIn(server: TestServer): Promise<Record<string, Response>> {
  const client = await createTestClient(server.domains);
  const { login } = await createTestAccount(server.domains);
  const person = new Person();
  const start = await person.request(authorizationRequest(server.issuer, client.id).url);
  const page = await person.open(authorizationRequest(server.issuer, client.id).url);
  const refused = await person.submit(page, { login, password: 'wrong-password-1' }, '/sign-in');
  const consent = await person.submit(refused, { login, password: PASSWORD }, '/sign-in');
  const back = await person.submit(consent, { decision: 'allow' }, '/consent');
  return {
    'redirect to the sign-in': start,
    'sign-in': page.response,
    'refused sign-in': refused.response,
    consent: consent.response,
    'redirect to the app': back.response,
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}

function directives(policy: string): Map<string, string[]> {
  return new Map(
    policy.split(';').map((part) => {
      const [name = '', ...values] = part.trim().split(/\s+/);
      return [name, values];
    }),
  );
}

function expectStrict(name: string, header: (name: string) => string): void {
  const policy = directives(header('content-security-policy'));
  const scripts = policy.get('script-src') ?? [];
  const isHash = (source: string) => /^'sha256-[\w+/=]+'$/.test(source);
  expect({
    name,
    default: policy.get('default-src'),
    scripts: scripts.filter((source) => !isHash(source)),
    styles: policy.get('style-src'),
    frameAncestors: policy.get('frame-ancestors'),
    baseUri: policy.get('base-uri'),
    formAction: policy.get('form-action'),
    isUnsafe: /unsafe-(inline|eval|hashes)|\*|http:/.test(header('content-security-policy')),
    frames: header('x-frame-options'),
    sniffing: header('x-content-type-options'),
    referrer: header('referrer-policy'),
    poweredBy: header('x-powered-by') || header('server'),
  }).toEqual({
    name,
    default: ["'none'"],
    scripts: ["'self'"],
    styles: ["'self'"],
    frameAncestors: ["'none'"],
    baseUri: ["'none'"],
    formAction: undefined,
    isUnsafe: false,
    frames: 'DENY',
    sniffing: 'nosniff',
    referrer: 'no-referrer',
    poweredBy: '',
  });
}

describe('every answer', () => {
  test('has the strict headers, whichever part of the server gave it', async () => {
    const client = await createTestClient(http.domains);
    for (const [name, request] of Object.entries(requestsTo(client))) {
      const answer = await rawRequest(http.address, request);
      expectStrict(name, (header) => one(answer, header));
    }
    for (const [name, response] of Object.entries(await pagesOfASignIn(http))) {
      expectStrict(name, (header) => response.headers.get(header) ?? '');
    }
  });

  test('is not stored anywhere, but for what is public: keys, discovery, and assets, which carry a hash of their content', async () => {
    const client = await createTestClient(http.domains);
    for (const [name, request] of Object.entries(requestsTo(client))) {
      const answer = await rawRequest(http.address, request);
      const isPublic = PUBLIC_DOCUMENTS.includes(name);
      expect(`${name}: ${one(answer, 'cache-control')}`).toBe(
        `${name}: ${isPublic ? 'public, max-age=3600' : 'no-store'}`,
      );
      expect({ name, hasTag: answer.headers.etag !== undefined }).toEqual({ name, hasTag: isPublic });
    }
    for (const [name, response] of Object.entries(await pagesOfASignIn(http))) {
      expect(`${name}: ${response.headers.get('cache-control')}`).toBe(`${name}: no-store`);
    }
    const asset = await rawRequest(http.address, { path: '/assets/tessera.css' });
    expect(asset.status).toBe(200);
    expect(one(asset, 'cache-control')).toContain('immutable');
    expectStrict('asset', (header) => one(asset, header));
  });

  test('with tokens is not stored either (RFC 6749, section 5.1)', async () => {
    const client = await createTestClient(http.domains);
    const { code, verifier } = await codeFor(http.issuer, client, await createTestAccount(http.domains));
    const { status, headers } = await redeem(http.issuer, client, code, verifier);
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expectStrict('tokens', (header) => headers.get(header) ?? '');
  });

  test('binds browsers to https where that is how the server is reached, and there alone', async () => {
    const answers = await Promise.all(
      [http, https].map(async (server) => {
        const client = await createTestClient(server.domains);
        const requests = Object.values(requestsTo(client));
        return Promise.all(requests.map((request) => rawRequest(server.address, request)));
      }),
    );
    for (const answer of answers[0] ?? []) expect(answer.headers['strict-transport-security']).toBeUndefined();
    for (const answer of answers[1] ?? []) {
      expect(one(answer, 'strict-transport-security')).toMatch(/^max-age=\d{8,}/);
    }
  });
});

describe('pages', () => {
  test('have no inline script but by its hash, no inline style and no event handler', async () => {
    const client = await createTestClient(http.domains);
    const person = new Person();
    const pages = [
      await person.open(authorizationRequest(http.issuer, client.id).url),
      await person.open(`${http.issuer}/authorize?client_id=nobody`),
      await person.open(`${http.issuer}/logout`),
      await person.open(`${http.issuer}/device`),
      await person.open(`${http.issuer}/device?user_code=BCDF-GHJK`),
      await person.open(`${http.issuer}/nothing`),
    ];
    for (const { html, response } of pages) {
      expect(html).toMatch(/^<!doctype html>/i);
      const policy = directives(response.headers.get('content-security-policy') ?? '');
      for (const [, attributes = '', content = ''] of html.matchAll(/<script\b([^>]*)>(.*?)<\/script>/gs)) {
        // The library's own page that sends itself off is allowed by the hash of its one script.
        if (content === '') expect(attributes).toContain('src="/assets/');
        else expect(policy.get('script-src')).toContain(`'sha256-${sha256(content)}'`);
      }
      expect(html).not.toMatch(/<style\b/i);
      expect(html).not.toMatch(/<[^>]*\s(?:style|on\w+)=/i);
      expect(html).not.toMatch(/(?:href|src|action)="\s*(?:javascript|data|vbscript):/i);
    }
  });

  test('are the same whatever Host and forwarded headers a stranger sends', async () => {
    const headers = {
      host: 'attacker.example',
      'x-forwarded-host': 'attacker.example',
      'x-forwarded-proto': 'https',
      forwarded: 'host=attacker.example;proto=https',
    };
    for (const path of [
      '/.well-known/openid-configuration',
      '/authorize?client_id=nobody',
      '/logout',
      '/device',
      '/nothing',
    ]) {
      const answer = await rawRequest(http.address, { path, headers });
      expect(answer.text + JSON.stringify(answer.headers)).not.toContain('attacker.example');
    }
  });
});

describe('CORS', () => {
  test('lets a page of an origin call that the client registered, and no other origin', async () => {
    const client = await createTestClient(http.domains, {
      allowedOrigins: ['https://spa.example.com'],
      metadata: { token_endpoint_auth_method: 'none' },
    });
    const allowed = async (origin: string) => {
      const answer = await rawRequest(http.address, {
        method: 'POST',
        path: '/token',
        headers: { ...FORM, origin },
        body: formBody([
          ['client_id', client.id],
          ['grant_type', 'authorization_code'],
        ]),
      });
      return answer.headers['access-control-allow-origin'];
    };
    expect(await allowed('https://spa.example.com')).toBe('https://spa.example.com');
    const others = [
      'https://attacker.example',
      'https://spa.example.com.attacker.example',
      'null',
      'http://spa.example.com',
    ];
    for (const origin of others) expect(await allowed(origin)).toBeUndefined();
  });

  test('never allows cookies, and nothing at all on pages', async () => {
    const client = await createTestClient(http.domains, { allowedOrigins: ['https://spa.example.com'] });
    const requests = Object.entries(requestsTo(client));
    for (const [name, request] of requests) {
      const headers = { ...request.headers, origin: 'https://spa.example.com' };
      const answer = await rawRequest(http.address, { ...request, headers });
      expect(`${name}: ${answer.headers['access-control-allow-credentials']}`).toBe(`${name}: undefined`);
      const isForPeople = /^(authorization error|unknown|sign)/.test(name);
      if (isForPeople) expect(answer.headers['access-control-allow-origin']).toBeUndefined();
    }
  });
});
