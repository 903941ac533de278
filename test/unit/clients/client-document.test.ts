import { describe, expect, test } from '@jest/globals';
import { grantableScopes, isDocumentUrl, readClientDocument } from '../../../src/clients/client-document.ts';

const URL_OF_CLIENT = 'https://agent.example.com/client.json';
const document = {
  client_id: URL_OF_CLIENT,
  client_name: 'Agent',
  redirect_uris: ['https://agent.example.com/callback'],
};
const read = (members: object = {}) => readClientDocument(URL_OF_CLIENT, { ...document, ...members });

describe('the URL of a document', () => {
  test.each([URL_OF_CLIENT, 'https://agent.example.com:8443/a/b', 'https://agent.example.com/client?v=1'])(
    'may be %s',
    (url) => expect(isDocumentUrl(url)).toBe(true),
  );

  test.each([
    ['is http', 'http://agent.example.com/client.json'],
    ['has no path', 'https://agent.example.com/'],
    ['has no path at all', 'https://agent.example.com'],
    ['has a fragment', `${URL_OF_CLIENT}#a`],
    ['has an empty fragment', `${URL_OF_CLIENT}#`],
    ['has a user name', 'https://me@agent.example.com/client.json'],
    ['has a password', 'https://me:you@agent.example.com/client.json'],
    ['has dots', 'https://agent.example.com/a/../client.json'],
    ['has dots in other clothes', 'https://agent.example.com/a/%2e%2e/client.json'],
    ['has capitals in its host', 'https://Agent.example.com/client.json'],
    ['names the port that it has anyway', 'https://agent.example.com:443/client.json'],
    ['has letters that look like others', 'https://аgent.example.com/client.json'],
    ['has a backslash', 'https://agent.example.com\\client.json'],
    ['has a line break', 'https://agent.example.com/\nclient.json'],
    ['is too long', `https://agent.example.com/${'a'.repeat(512)}`],
    ['is no URL', 'agent'],
  ])('is none where it %s', (_, url) => expect(isDocumentUrl(url)).toBe(false));
});

describe('a document', () => {
  test('makes a public client with codes', () => {
    expect(read()).toEqual({
      ok: true,
      scopes: undefined,
      origins: ['https://agent.example.com'],
      metadata: {
        ...document,
        grant_types: ['authorization_code'],
        response_types: ['code'],
        token_endpoint_auth_method: 'none',
      },
    });
  });

  test('of which an answer goes to the device makes a native app', () => {
    expect(read({ redirect_uris: ['http://127.0.0.1/callback', 'https://agent.example.com/callback'] })).toMatchObject({
      metadata: { application_type: 'native' },
    });
  });

  test('gives no right that is registered: what is unknown, and what a service needs, counts for nothing', () => {
    const answer = read({
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials', 'implicit'],
      response_types: ['code', 'token'],
      roles: ['admin'],
      require_pkce: false,
      access_token_ttl_seconds: 86_400,
      mayIntrospectAny: true,
      allowed_origins: ['https://evil.example'],
      logo_uri: 'https://evil.example/logo.png',
      client_uri: 'https://evil.example/',
      policy_uri: 'https://agent.example.com/privacy',
      software_id: 'x',
    });
    expect(answer).toMatchObject({ ok: true, origins: ['https://agent.example.com'] });
    expect(answer.ok && answer.metadata).toEqual({
      ...document,
      policy_uri: 'https://agent.example.com/privacy',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    });
  });

  test.each([
    ['is of another client', { client_id: 'https://agent.example.com/other.json' }, /another client_id/],
    ['has a secret', { client_secret: 'x' }, /client_secret/],
    ['has an end of its secret', { client_secret_expires_at: 0 }, /client_secret/],
    ['wants a secret', { token_endpoint_auth_method: 'client_secret_basic' }, /none, private_key_jwt/],
    ['wants a certificate', { token_endpoint_auth_method: 'self_signed_tls_client_auth' }, /none, private_key_jwt/],
    ['has no key to sign with', { token_endpoint_auth_method: 'private_key_jwt' }, /wants jwks or jwks_uri/],
    ['has a private key', { jwks: { keys: [{ kty: 'EC', d: 'x' }] } }, /private key/],
    ['has keys behind http', { jwks_uri: 'http://localhost/jwks' }, /jwks_uri wants https/],
    ['has nowhere to go', { redirect_uris: [] }, /at least one redirect URI/],
    ['goes to http', { redirect_uris: ['http://agent.example.com/callback'] }, /redirect_uris/],
    ['goes to a script', { redirect_uris: ['javascript:alert(1)'] }, /redirect_uris/],
    ['has no list of addresses', { redirect_uris: 'https://agent.example.com/callback' }, /redirect_uris/],
    ['has no codes', { grant_types: ['client_credentials'] }, /authorization_code/],
    ['hides another name', { client_name: 'Agent\u202egnp' }, /control characters/],
    ['has a name of many lines', { client_name: 'a'.repeat(101) }, /at most 100/],
    ['has a number for a name', { client_name: 1 }, /client_name/],
    ['has a list of scopes', { scope: ['openid'] }, /scope/],
  ])('that %s is refused', (_, members, reason) => {
    expect(read(members)).toEqual({ ok: false, reason: expect.stringMatching(reason) });
  });

  test.each([[undefined], [null], ['text'], [[document]], [1]])('is an object, not %j', (value) => {
    expect(readClientDocument(URL_OF_CLIENT, value)).toMatchObject({ ok: false });
  });
});

describe('what it may ask for', () => {
  test('is what OpenID and open APIs have, as far as it names it', () => {
    expect(grantableScopes(undefined, ['tools:use'])).toBe(
      'openid profile email address phone offline_access tools:use',
    );
    expect(grantableScopes(['openid', 'tools:use', 'tools:admin'], ['tools:use'])).toBe('openid tools:use');
    expect(grantableScopes(['tools:use'], ['tools:use'])).toBe('openid tools:use');
  });

  test('is never everything because there is nothing', () => {
    expect(grantableScopes(['tools:admin'], [])).toBe('openid');
  });
});
