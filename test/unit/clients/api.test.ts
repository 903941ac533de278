import { describe, expect, test } from '@jest/globals';
import { type Api, checkChangedApi, checkNewApi, type NewApi } from '../../../src/clients/api.ts';

const orders = {
  identifier: 'urn:example:orders',
  scopes: ['orders:read', 'orders:write'],
  tokenFormat: 'jwt',
} as const;

function api(input: Partial<NewApi> = {}): Api {
  const checked = checkNewApi({ ...orders, ...input });
  if (!checked.ok) throw new Error(checked.reason);
  return { ...checked.draft, createdAt: new Date(0), updatedAt: new Date(0) };
}

describe('an API', () => {
  test('has defaults: RS256, ten minutes, scopes described by their names', () => {
    expect(api()).toMatchObject({
      name: 'urn:example:orders',
      scopes: [
        { scope: 'orders:read', description: 'orders:read' },
        { scope: 'orders:write', description: 'orders:write' },
      ],
      signingAlgorithm: 'RS256',
      ttlSeconds: 600,
      introspectionClientIds: [],
      isOpenToUnregistered: false,
      isDemo: false,
    });
  });

  test.each<[string, Record<string, unknown>, string, RegExp]>([
    ['its identifier has a fragment', { identifier: 'https://api.example.com/#a' }, 'identifier', /without fragment/],
    ['its identifier is relative', { identifier: '/orders' }, 'identifier', /absolute URI/],
    ['its identifier is a bare word', { identifier: 'orders' }, 'identifier', /absolute URI/],
    ['its identifier has a space', { identifier: 'urn:example: a' }, 'identifier', /absolute URI/],
    ['its identifier has a NUL', { identifier: 'urn:example:\0' }, 'identifier', /absolute URI/],
    ['its identifier is too long', { identifier: `urn:example:${'a'.repeat(512)}` }, 'identifier', /at most 512/],
    ['its name is empty', { name: ' ' }, 'name', /wants a name/],
    ['its name hides a NUL', { name: 'a\0' }, 'name', /control characters/],
    ['a scope is not one', { scopes: ['a b'] }, 'scopes', /a b is not a scope/],
    ['a scope is too long', { scopes: ['a'.repeat(129)] }, 'scopes', /is not a scope/],
    [
      'a scope is of OpenID',
      { scopes: ['orders', 'offline_access'] },
      'scopes',
      /offline_access belongs to OpenID Connect/,
    ],
    ['a scope stands there twice', { scopes: ['orders', 'orders'] }, 'scopes', /orders stands there twice/],
    [
      'a description hides a control character',
      { scopes: [{ scope: 'a', description: 'a\u0007' }] },
      'scopes',
      /control/,
    ],
    ['its format is unknown', { tokenFormat: 'saml' }, 'tokenFormat', /jwt or opaque/],
    ['its algorithm is symmetric', { signingAlgorithm: 'HS256' }, 'signingAlgorithm', /RS256, ES256/],
    ['its tokens live for no time', { ttlSeconds: 0 }, 'ttlSeconds', /from 1 to 86400/],
    ['its tokens live for days', { ttlSeconds: 86_401 }, 'ttlSeconds', /from 1 to 86400/],
    ['its lifetime is a fraction', { ttlSeconds: 1.5 }, 'ttlSeconds', /whole seconds/],
  ])('is refused, with the member and the reason, when %s', (_, input, field, reason) => {
    const checked = checkNewApi({ ...orders, ...input } as NewApi);
    expect(checked).toMatchObject({
      ok: false,
      code: 'invalid_metadata',
      field,
      reason: expect.stringMatching(reason),
    });
  });

  test('keeps what a change does not name, and the descriptions of the scopes that stay', () => {
    const current = api({
      scopes: [{ scope: 'orders:read', description: 'See your orders' }, 'orders:write'],
      ttlSeconds: 60,
    });
    const checked = checkChangedApi(current, { scopes: ['orders:read', 'orders:delete'] });
    expect(checked).toMatchObject({
      ok: true,
      draft: {
        scopes: [
          { scope: 'orders:read', description: 'See your orders' },
          { scope: 'orders:delete', description: 'orders:delete' },
        ],
        ttlSeconds: 60,
      },
    });
  });
});
