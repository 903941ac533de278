import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { checkChangedClient, checkNewClient } from '../../../src/clients/check-client.ts';
import type { ClientDraft, ClientPatch, NewClient } from '../../../src/clients/client.ts';
import type { GivenMetadata } from '../../../src/clients/client-metadata-schema.ts';

const ecKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicJwk = { kty: 'EC', ...ecKeys.publicKey.export({ format: 'jwk' }) };
const privateJwk = { kty: 'EC', ...ecKeys.privateKey.export({ format: 'jwk' }) };
const callback = { redirect_uris: ['https://app.example.com/callback'] };

/** As it arrives from a file or over the wire: anything may stand in it. */
function check(metadata: Record<string, unknown>, rest: Omit<NewClient, 'metadata'> = {}) {
  return checkNewClient({ metadata: { client_id: 'app', ...metadata } as GivenMetadata, ...rest });
}

function draftOf(metadata: Record<string, unknown>, rest: Omit<NewClient, 'metadata'> = {}): ClientDraft {
  const checked = check(metadata, rest);
  if (!checked.ok) throw new Error(checked.reason);
  return checked.draft;
}

describe('defaults', () => {
  test('are those of RFC 7591: authorization code, with a secret in the header', () => {
    expect(draftOf(callback).metadata).toEqual({
      client_id: 'app',
      ...callback,
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    });
  });

  test('leave response types out where no grant has them', () => {
    expect(draftOf({ grant_types: ['client_credentials'] }).metadata.response_types).toEqual([]);
  });

  test('make a native app and a browser app public, unless they bring a secret or are to authenticate', () => {
    const native = { ...callback, application_type: 'native' };
    const origins = { allowedOrigins: ['https://app.example.com'] };
    const secret = 'p8Jd02kLmNqRsTuVwXyZ1234567890ab';
    expect(draftOf(native).metadata.token_endpoint_auth_method).toBe('none');
    expect(draftOf(callback, origins).metadata.token_endpoint_auth_method).toBe('none');
    expect(draftOf(native, { secret }).metadata.token_endpoint_auth_method).toBe('client_secret_basic');
    const both = { ...native, grant_types: ['authorization_code', 'client_credentials'] };
    expect(draftOf(both).metadata.token_endpoint_auth_method).toBe('client_secret_basic');
  });

  test('do not touch what was given, repetitions aside', () => {
    const given = {
      ...callback,
      grant_types: ['authorization_code', 'refresh_token', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_post',
      scope: 'openid  profile openid',
    };
    expect(draftOf(given).metadata).toMatchObject({
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_post',
      scope: 'openid profile',
    });
  });
});

describe('a public client is native when all of its codes go to the device itself', () => {
  const publicClient = (...redirect_uris: string[]) => ({ redirect_uris, token_endpoint_auth_method: 'none' });
  const typeOf = (metadata: Record<string, unknown>, rest: Omit<NewClient, 'metadata'> = {}) =>
    draftOf(metadata, rest).metadata.application_type;

  test.each([
    ['http://127.0.0.1/cb'],
    ['http://127.0.0.1:8080/cb'],
    ['http://[::1]/cb'],
    ['http://localhost:3000/cb'],
    ['com.example.app:/cb'],
  ])('%s', (uri) => {
    expect(typeOf(publicClient(uri))).toBe('native');
  });

  test.each([
    ['https://app.example/cb'],
    ['https://localhost/cb'],
    ['https://localhost.evil.example/cb'],
    ['https://127.0.0.1.evil.example/cb'],
  ])('not %s', (uri) => {
    expect(typeOf(publicClient(uri))).toBeUndefined();
    expect(typeOf(publicClient('http://127.0.0.1/cb', uri))).toBeUndefined();
  });

  test('not one that authenticates, nor one of pages that call from their own origin, nor one that says otherwise', () => {
    const uri = 'http://localhost:3000/cb';
    expect(typeOf({ redirect_uris: [uri], token_endpoint_auth_method: 'client_secret_basic' })).toBeUndefined();
    expect(typeOf({ redirect_uris: [uri] })).toBeUndefined();
    expect(typeOf(publicClient(uri), { allowedOrigins: ['http://localhost:3000'] })).toBeUndefined();
    expect(typeOf({ ...publicClient(uri), application_type: 'web' })).toBe('web');
    expect(
      typeOf({ grant_types: ['urn:ietf:params:oauth:grant-type:device_code'], token_endpoint_auth_method: 'none' }),
    ).toBeUndefined();
  });

  test('not one that was registered before', () => {
    const current = draftOf(publicClient('https://app.example/cb'));
    const changed = checkChangedClient(current, { metadata: { redirect_uris: ['http://localhost:3000/cb'] } });
    expect(changed.ok && changed.draft.metadata.application_type).toBeUndefined();
  });
});

describe('a client is refused, with the member and the reason, when', () => {
  test.each<[string, Record<string, unknown>, string, RegExp]>([
    ['its id has a space', { client_id: 'my app' }, 'client_id', /printable ASCII/],
    ['its id is too long', { client_id: 'a'.repeat(129) }, 'client_id', /1 to 128/],
    ['its id is empty', { client_id: '' }, 'client_id', /1 to 128/],
    ['its id is not ASCII', { client_id: 'größe' }, 'client_id', /printable ASCII/],
    ['its id is no text', { client_id: 7 }, 'client_id', /wants a text/],
    ['its id looks like an API key', { client_id: 'tsk_abc' }, 'client_id', /must not begin with tsk_/],
    ['a member is misspelt', { ...callback, redirect_uri: 'x' }, 'redirect_uri', /not a member/],
    ['its metadata bear a secret', { ...callback, client_secret: 'x' }, 'client_secret', /does not belong/],
    ['its name hides a NUL', { ...callback, client_name: 'a\0b' }, 'client_name', /control characters/],
    ['its name turns the text around', { ...callback, client_name: 'a\u202eb' }, 'client_name', /control characters/],
    ['its name is half a character', { ...callback, client_name: 'a\ud800' }, 'client_name', /control characters/],
    [
      'a redirect URI has a fragment',
      { redirect_uris: ['https://a.example/#x'] },
      'redirect_uris',
      /https:\/\/a\.example\/#x has a fragment/,
    ],
    ['redirect URIs are no list', { redirect_uris: 'https://a.example' }, 'redirect_uris', /wants a list/],
    [
      'a private scheme is not native',
      { redirect_uris: ['com.example.app:/cb'] },
      'redirect_uris',
      /application_type native/,
    ],
    [
      'a post-logout address is plain http',
      { ...callback, post_logout_redirect_uris: ['http://a.example'] },
      'post_logout_redirect_uris',
      /wants https/,
    ],
    ['its logo is a script', { ...callback, logo_uri: 'javascript:alert(1)' }, 'logo_uri', /not an https URL/],
    ['codes have nowhere to go', {}, 'redirect_uris', /wants at least one redirect URI/],
    [
      'codes have no grant',
      { ...callback, grant_types: ['client_credentials'], response_types: ['code'] },
      'response_types',
      /wants authorization_code/,
    ],
    [
      'the code grant has no codes',
      { ...callback, response_types: [] },
      'grant_types',
      /wants code among response_types/,
    ],
    [
      'the grant is implicit, and nothing is to come by it',
      { ...callback, grant_types: ['implicit'] },
      'grant_types',
      /implicit wants id_token or token among response_types/,
    ],
    [
      'an ID token is to come by redirect without its grant',
      { ...callback, profile: 'oidc-basic', response_types: ['code', 'code id_token'] },
      'response_types',
      /code id_token wants implicit among grant_types/,
    ],
    ['the grant is the password', { grant_types: ['password'] }, 'grant_types', /password is not offered/],
    [
      'a token alone is to come by redirect',
      { ...callback, response_types: ['code', 'token'] },
      'response_types',
      /token is none of code, id_token/,
    ],
    [
      'refresh tokens follow no person',
      { grant_types: ['client_credentials', 'refresh_token'] },
      'grant_types',
      /refresh_token wants authorization_code/,
    ],
    [
      'client credentials are none',
      { grant_types: ['client_credentials'], token_endpoint_auth_method: 'none' },
      'token_endpoint_auth_method',
      /none does not/,
    ],
    [
      'it wants client_secret_jwt',
      { ...callback, token_endpoint_auth_method: 'client_secret_jwt' },
      'token_endpoint_auth_method',
      /only its digest is kept; use private_key_jwt/,
    ],
    [
      'it wants an unknown method',
      { ...callback, token_endpoint_auth_method: 'magic' },
      'token_endpoint_auth_method',
      /wants one of/,
    ],
    [
      'private_key_jwt has no key',
      { ...callback, token_endpoint_auth_method: 'private_key_jwt' },
      'token_endpoint_auth_method',
      /wants jwks or jwks_uri/,
    ],
    [
      'keys are given twice',
      { ...callback, jwks: { keys: [publicJwk] }, jwks_uri: 'https://a.example/jwks' },
      'jwks',
      /exclude each other/,
    ],
    ['a key is private', { ...callback, jwks: { keys: [privateJwk] } }, 'jwks', /private key/],
    ['a key is symmetric', { ...callback, jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] } }, 'jwks', /symmetric key/],
    ['no key is there', { ...callback, jwks: { keys: [] } }, 'jwks', /at least one key/],
    [
      'a public client would do without PKCE',
      { ...callback, token_endpoint_auth_method: 'none', require_pkce: false },
      'require_pkce',
      /needs PKCE/,
    ],
    [
      'ID tokens are to be HS256',
      { ...callback, id_token_signed_response_alg: 'HS256' },
      'id_token_signed_response_alg',
      /HS256 is refused/,
    ],
    [
      'request objects are to be HS512',
      { ...callback, request_object_signing_alg: 'HS512' },
      'request_object_signing_alg',
      /HS512 is refused/,
    ],
    [
      'ID tokens are not to be signed',
      { ...callback, id_token_signed_response_alg: 'none' },
      'id_token_signed_response_alg',
      /none is refused/,
    ],
    [
      'keys are to be wrapped symmetrically',
      { ...callback, id_token_encrypted_response_alg: 'A128KW' },
      'id_token_encrypted_response_alg',
      /A128KW is refused/,
    ],
    [
      'keys are to be wrapped by A256GCMKW',
      { ...callback, request_object_encryption_alg: 'A256GCMKW' },
      'request_object_encryption_alg',
      /A256GCMKW is refused/,
    ],
    [
      'the secret is to encrypt',
      { ...callback, userinfo_encrypted_response_alg: 'dir' },
      'userinfo_encrypted_response_alg',
      /dir is refused/,
    ],
    ['a scope has a quotation mark', { ...callback, scope: 'openid a"b' }, 'scope', /a"b is not a scope/],
    ['its scope is empty', { ...callback, scope: ' ' }, 'scope', /at least one scope/],
    [
      'it is too large',
      { redirect_uris: Array.from({ length: 100 }, (_, i) => `https://a.example/${i}${'a'.repeat(1_000)}`) },
      'metadata',
      /at most 65536/,
    ],
    [
      'it has too many redirect URIs',
      { redirect_uris: Array.from({ length: 201 }, (_, i) => `https://a.example/${i}`) },
      'redirect_uris',
      /at most 200/,
    ],
  ])('%s', (_, metadata, field, reason) => {
    const checked = check(metadata);
    expect(checked).toMatchObject({
      ok: false,
      code: 'invalid_metadata',
      field,
      reason: expect.stringMatching(reason),
    });
    if (!checked.ok) expect(checked.reason.startsWith(`${field}: `)).toBe(true);
  });

  test('an origin is none', () => {
    expect(check(callback, { allowedOrigins: ['https://app.example.com/'] })).toMatchObject({
      ok: false,
      field: 'allowed_origins',
      reason: expect.stringMatching(/did you mean/),
    });
  });

  test.each([
    ['short', 'a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d', /at least 32 random characters/],
    ['repeated', 'abcabcabcabcabcabcabcabcabcabcabcabc', /not a repeated few/],
    ['not ASCII', 'ü1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6', /printable ASCII/],
    ['long', 'a1b2c3d4'.repeat(33), /at most 256/],
  ])('its given secret is %s', (_, secret, reason) => {
    expect(check(callback, { secret })).toMatchObject({
      ok: false,
      field: 'secret',
      reason: expect.stringMatching(reason),
    });
  });

  test('a secret is given that its method does not use', () => {
    const secret = 'a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6';
    expect(check({ ...callback, token_endpoint_auth_method: 'none' }, { secret })).toMatchObject({
      ok: false,
      field: 'secret',
      reason: 'secret: is not used by none',
    });
  });
});

describe('a client that does not authenticate never introspects all', () => {
  const open = { ...callback, token_endpoint_auth_method: 'none' };
  const refusal = { ok: false, field: 'introspect_any', reason: expect.stringMatching(/authenticates .*: none does/) };

  test('as a new one', () => {
    expect(check(open, { mayIntrospectAny: true })).toMatchObject(refusal);
    expect(check(callback, { mayIntrospectAny: true })).toMatchObject({ ok: true });
  });

  test('as one that is changed, from either side', () => {
    const right = { mayIntrospectAny: true };
    const method = { metadata: { token_endpoint_auth_method: 'none' } } as const;
    expect(checkChangedClient(draftOf(open), right)).toMatchObject(refusal);
    expect(checkChangedClient(draftOf(callback, right), method)).toMatchObject(refusal);
    expect(checkChangedClient(draftOf(callback, right), { ...method, mayIntrospectAny: false }).ok).toBe(true);
  });
});

describe('scopes at one API', () => {
  const service = { grant_types: ['client_credentials'], scope: 'read write' };
  const apis = ['urn:one', 'urn:two'];

  test('are some of the client’s, at an API that it may call', () => {
    expect(draftOf(service, { apis, apiScopes: { 'urn:one': ['read', 'read'] } }).apiScopes).toEqual({
      'urn:one': ['read'],
    });
    expect(check(service, { apis, apiScopes: { 'urn:one': ['delete'] } })).toMatchObject({
      field: 'api_scopes',
      reason: 'api_scopes: delete is not among its scopes',
    });
    expect(check(service, { apis, apiScopes: { 'urn:three': ['read'] } })).toMatchObject({
      reason: 'api_scopes: urn:three is not among its APIs',
    });
    expect(check(service, { apis, apiScopes: { 'urn:one': [] } })).toMatchObject({
      reason: expect.stringContaining('wants at least one scope'),
    });
  });

  test('stay until its APIs are named anew', () => {
    const current = draftOf(service, { apis, apiScopes: { 'urn:one': ['read'] } });
    const changed = (patch: ClientPatch) => checkChangedClient(current, patch);
    expect(changed({ metadata: { client_name: 'New' } })).toMatchObject({
      draft: { apiScopes: { 'urn:one': ['read'] } },
    });
    expect(changed({ apis: ['urn:one'] })).toMatchObject({ draft: { apis: ['urn:one'], apiScopes: {} } });
    expect(changed({ metadata: { scope: 'write' } })).toMatchObject({ ok: false, field: 'api_scopes' });
  });
});

describe('the longest life of its access tokens', () => {
  test.each([29, 0, -1, 86_401, 60.5, '600', true])('is not %j', (access_token_ttl_seconds) => {
    expect(check({ ...callback, access_token_ttl_seconds })).toMatchObject({
      ok: false,
      reason: 'access_token_ttl_seconds: wants whole seconds from 30 to 86400',
    });
  });

  test.each([30, 86_400])('may be %j seconds', (access_token_ttl_seconds) => {
    expect(draftOf({ ...callback, access_token_ttl_seconds }).metadata).toMatchObject({ access_token_ttl_seconds });
  });
});

describe('a change', () => {
  const current = draftOf({ ...callback, client_name: 'App', scope: 'openid' });

  test('keeps what it does not name and takes away what it sets to null', () => {
    const checked = checkChangedClient(current, {
      metadata: { client_name: null, redirect_uris: undefined, scope: 'email' },
    });
    expect(checked).toMatchObject({ ok: true });
    if (!checked.ok) return;
    const { client_name, ...rest } = current.metadata;
    expect(checked.draft).toEqual({ ...current, metadata: { ...rest, scope: 'email' } });
  });

  test('of the grants takes the response types along', () => {
    const checked = checkChangedClient(current, { metadata: { grant_types: ['client_credentials'] } });
    expect(checked).toMatchObject({ ok: true, draft: { metadata: { response_types: [] } } });
  });

  test('is checked as a whole', () => {
    const checked = checkChangedClient(current, { metadata: { redirect_uris: null } });
    expect(checked).toMatchObject({ ok: false, field: 'redirect_uris' });
  });

  test('never changes the id', () => {
    expect(checkChangedClient(current, { metadata: { client_id: 'other' } })).toMatchObject({
      ok: false,
      field: 'client_id',
    });
    expect(checkChangedClient(current, { metadata: { client_id: null } })).toMatchObject({ ok: true });
  });
});
