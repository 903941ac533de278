import { expect, test } from '@jest/globals';
import { checkNewClient } from '../../../src/clients/check-client.ts';
import type { NewClient } from '../../../src/clients/index.ts';
import { createCertificate } from '../../harness/certificates.ts';

const byName = { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_subject_dn: 'CN=orders' };
const check = (metadata: object, secret?: string) =>
  checkNewClient({
    metadata: { client_id: 'orders', grant_types: ['client_credentials'], ...metadata } as NewClient['metadata'],
    secret,
  });

test('a client authenticates by a name of its certificate, or by the certificate itself', () => {
  expect(check(byName)).toMatchObject({ ok: true });
  const jwks = { keys: [createCertificate().jwk] };
  expect(check({ token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks })).toMatchObject({ ok: true });
  const jwks_uri = 'https://orders.example.com/jwks';
  expect(check({ token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks_uri })).toMatchObject({ ok: true });
});

test('and has no secret beside it', () => {
  expect(check(byName, 'a secret of more than enough characters')).toMatchObject({ ok: false, field: 'secret' });
});

test.each<[string, object, RegExp]>([
  [
    'no name',
    { token_endpoint_auth_method: 'tls_client_auth' },
    /tls_client_auth wants exactly one of tls_client_auth_su/,
  ],
  ['two names', { ...byName, tls_client_auth_san_dns: 'orders.example.com' }, /wants exactly one of/],
  ['a name that is none', { ...byName, tls_client_auth_subject_dn: 'orders' }, /is not a name of RFC 4514/],
  [
    'a name without the method',
    { tls_client_auth_san_dns: 'orders.example.com' },
    /tls_client_auth_san_dns: has a meaning with token_endpoint_auth_method tls_client_auth alone/,
  ],
  [
    'no certificate',
    { token_endpoint_auth_method: 'self_signed_tls_client_auth' },
    /jwks: wants a key with its certificate/,
  ],
  [
    'a key without its certificate',
    {
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [{ ...createCertificate().jwk, x5c: undefined }] },
    },
    /jwks: wants a key with its certificate as x5c/,
  ],
])('a client with %s is refused', (_what, metadata, reason) => {
  expect(check(metadata)).toMatchObject({ ok: false, reason: expect.stringMatching(reason) });
});
