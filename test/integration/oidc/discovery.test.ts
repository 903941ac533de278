import { request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestClient } from '../../harness/factories.ts';
import { authorizationRequest } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';

const DISCOVERY_PATHS = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'];

const CONTRACT = {
  authorization_endpoint: '/authorize',
  token_endpoint: '/token',
  userinfo_endpoint: '/userinfo',
  introspection_endpoint: '/introspect',
  revocation_endpoint: '/revoke',
  jwks_uri: '/jwks',
  end_session_endpoint: '/logout',
  device_authorization_endpoint: '/device_authorization',
  pushed_authorization_request_endpoint: '/par',
};

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

async function discover(path = DISCOVERY_PATHS[0]): Promise<Record<string, unknown>> {
  const response = await fetch(`${server.issuer}${path}`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^application\/json/);
  return (await response.json()) as Record<string, unknown>;
}

/** A request with headers that `fetch` would not let through. */
async function getWithHeaders(path: string, headers: Record<string, string>) {
  const { port } = new URL(server.issuer);
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    httpRequest({ host: '127.0.0.1', port, path, headers }, resolve).on('error', reject).end();
  });
  return { status: response.statusCode, location: response.headers.location, body: await text(response) };
}

describe('discovery', () => {
  test('both documents say the same, and the issuer is the configured one to the letter', async () => {
    const [openid, oauth] = await Promise.all(DISCOVERY_PATHS.map(discover));
    expect(openid).toEqual(oauth);
    expect(openid).toMatchObject({ issuer: server.issuer, authorization_response_iss_parameter_supported: true });
  });

  test('every endpoint stands at its place in the contract and answers', async () => {
    const document = await discover();
    const endpoints = Object.entries(document).filter(([name]) => /_endpoint$|_uri$/.test(name));
    expect(Object.fromEntries(endpoints)).toEqual(
      Object.fromEntries(Object.entries(CONTRACT).map(([name, path]) => [name, `${server.issuer}${path}`])),
    );
    for (const [name, url] of endpoints) {
      const forPrograms = [
        'token',
        'introspection',
        'revocation',
        'device_authorization',
        'pushed_authorization_request',
      ];
      const method = forPrograms.some((endpoint) => name === `${endpoint}_endpoint`) ? 'POST' : 'GET';
      const { status } = await fetch(String(url), { method, redirect: 'manual' });
      expect({ name, isThere: status !== 404 && status < 500 }).toEqual({ name, isThere: true });
    }
  });

  test('what is offered is listed, and nothing weaker', async () => {
    const document = await discover();
    expect(document).toMatchObject({
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      subject_types_supported: ['public', 'pairwise'],
      ui_locales_supported: ['en', 'de'],
      acr_values_supported: ['urn:tessera:acr:password'],
      claims_parameter_supported: true,
      request_parameter_supported: true,
      request_uri_parameter_supported: false,
    });
    expect(document.require_pushed_authorization_requests ?? false).toBe(false);
    expect(sorted(document.grant_types_supported)).toEqual([
      'authorization_code',
      'client_credentials',
      'refresh_token',
      'urn:ietf:params:oauth:grant-type:device_code',
      'urn:ietf:params:oauth:grant-type:token-exchange',
    ]);
    expect(sorted(document.id_token_signing_alg_values_supported)).toEqual(['ES256', 'RS256']);
    const methods = ['client_secret_basic', 'client_secret_post', 'none', 'private_key_jwt'];
    expect(sorted(document.token_endpoint_auth_methods_supported)).toEqual(methods);
    expect(document.scopes_supported).toEqual(
      expect.arrayContaining(['openid', 'profile', 'email', 'address', 'phone', 'offline_access']),
    );
    expect(document.claims_supported).toEqual(
      expect.arrayContaining(['sub', 'name', 'email', 'email_verified', 'address', 'phone_number', 'auth_time', 'acr']),
    );
    expect(sorted(document.dpop_signing_alg_values_supported)).toEqual(['ES256', 'Ed25519', 'EdDSA', 'PS256', 'RS256']);
    for (const [name, algorithms] of Object.entries(document)) {
      if (!/_alg_values_supported$/.test(name)) continue;
      expect({ name, weak: (algorithms as string[]).filter((alg) => /^(HS|none|dir|A\d+(GCM)?KW)/.test(alg)) }).toEqual(
        {
          name,
          weak: [],
        },
      );
    }
  });

  test('nothing that is switched off is advertised, and its path is not there', async () => {
    const document = await discover();
    const off = /backchannel_(auth|token|user)|registration|mtls|check_session|frontchannel/;
    expect(Object.keys(document).filter((name) => off.test(name))).toEqual([]);
    for (const path of ['/backchannel', '/register', '/reg', '/me', '/auth']) {
      const statuses = await Promise.all(
        ['GET', 'POST'].map(async (method) => (await fetch(`${server.issuer}${path}`, { method })).status),
      );
      expect({ path, statuses }).toEqual({ path, statuses: [404, 404] });
    }
  });

  test('keys are public alone, one per algorithm, each with kid, alg and use', async () => {
    const { keys } = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: Record<string, unknown>[] };
    expect(keys.map(({ alg }) => alg).sort()).toEqual(['ES256', 'RS256']);
    for (const key of keys) {
      expect(key).toMatchObject({ kid: expect.any(String), use: 'sig' });
      expect(Object.keys(key).filter((member) => ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k'].includes(member))).toEqual([]);
    }
  });

  test.each([
    ['Host', { host: 'evil.example' }],
    ['X-Forwarded-Host', { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' }],
    ['Forwarded', { forwarded: 'host=evil.example;proto=https' }],
  ])('a %s header of a stranger changes no address', async (_name, headers) => {
    const document = await discover();
    const spoofed = await getWithHeaders(DISCOVERY_PATHS[0] ?? '', headers);
    expect(JSON.parse(spoofed.body)).toEqual(document);
    const client = await createTestClient(server.domains);
    const { url } = authorizationRequest(server.issuer, client.id);
    const { pathname, search } = new URL(url);
    const redirected = await getWithHeaders(`${pathname}${search}`, headers);
    expect(redirected.status).toBe(303);
    expect(new URL(redirected.location ?? '', server.issuer).origin).toBe(server.issuer);
  });
});

function sorted(values: unknown): string[] {
  return [...(values as string[])].sort();
}
