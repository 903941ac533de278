import { describe, expect, test } from '@jest/globals';
import { effectiveApis, effectiveScopes, isLive } from '../../../src/api-keys/api-key.ts';
import { checkPurpose, checkSettings } from '../../../src/api-keys/check-api-key.ts';
import type { ApiKeyOwners } from '../../../src/api-keys/owners.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const ORDERS = 'urn:example:orders';
const BILLS = 'urn:example:bills';
const STOCK = 'urn:example:stock';

const owners: ApiKeyOwners = {
  async findClient(id) {
    const grantTypes = ['client_credentials'];
    const apiScopes = {};
    if (id === 'bound') return { grantTypes, scopes: ['orders:read', 'bills:read'], apis: [ORDERS, BILLS], apiScopes };
    if (id === 'free') return { grantTypes, scopes: ['orders:read', 'bills:read', 'openid'], apis: [], apiScopes };
    if (id === 'web') return { grantTypes: ['authorization_code'], scopes: ['orders:read'], apis: [], apiScopes };
    if (id === 'narrow') {
      const scopes = ['orders:read', 'orders:write'];
      return { grantTypes, scopes, apis: [ORDERS], apiScopes: { [ORDERS]: ['orders:read'] } };
    }
    return undefined;
  },
  async findAccount(id) {
    return id === 'ada' ? { isDisabled: false } : id === 'eve' ? { isDisabled: true } : undefined;
  },
  listApis: async () => [
    { identifier: ORDERS, scopes: ['orders:read', 'orders:write'] },
    { identifier: BILLS, scopes: ['bills:read'] },
    { identifier: STOCK, scopes: ['stock:read'] },
  ],
  holdApis: async () => undefined,
};

const ofClient = (clientId: string, scopes: string[], apis?: string[]) =>
  checkPurpose({ owner: { kind: 'client', clientId }, scopes, apis }, owners);
const ofAccount = (accountId: string, scopes: string[], apis?: string[]) =>
  checkPurpose({ owner: { kind: 'account', accountId }, scopes, apis }, owners);

describe('a key of a client', () => {
  test('is for the APIs that are named, each once', async () => {
    expect(await ofClient('bound', ['orders:read', 'orders:read'], [ORDERS, ORDERS])).toMatchObject({
      ok: true,
      purpose: { scopes: ['orders:read'], apis: [ORDERS] },
    });
  });

  test('is for those of the client that own its scopes, where none is named', async () => {
    expect(await ofClient('bound', ['bills:read'])).toMatchObject({ ok: true, purpose: { apis: [BILLS] } });
    expect(await ofClient('free', ['orders:read', 'bills:read'])).toMatchObject({
      ok: true,
      purpose: { apis: [ORDERS, BILLS] },
    });
  });

  test.each([
    ['a scope that the client lacks', 'bound', ['orders:write'], [ORDERS], /does not have orders:write/],
    [
      'an API that the client is not registered for',
      'bound',
      ['orders:read'],
      [STOCK],
      /not registered for urn:example:stock/,
    ],
    ['an API that is not there', 'free', ['orders:read'], ['urn:example:none'], /no API urn:example:none/],
    ['a scope of another API than those it is for', 'free', ['bills:read'], [ORDERS], /bills:read belongs to none/],
    [
      'a scope that the client may not ask for there',
      'narrow',
      ['orders:write'],
      [ORDERS],
      /may not ask for orders:write/,
    ],
    ['a scope of OpenID Connect', 'free', ['openid', 'orders:read'], undefined, /openid belongs to none/],
    ['nothing at all', 'free', [], undefined, /wants the APIs/],
    [
      'a client that may not use client credentials',
      'web',
      ['orders:read'],
      undefined,
      /may not use client_credentials/,
    ],
    ['a client that is not there', 'nobody', ['orders:read'], undefined, /no client nobody/],
  ])('is refused for %s', async (_, clientId, scopes, apis, reason) => {
    expect(await ofClient(clientId, scopes, apis)).toMatchObject({ ok: false, reason: expect.stringMatching(reason) });
  });
});

describe('a key of an account', () => {
  test('is for the APIs that are named, within their scopes', async () => {
    expect(await ofAccount('ada', ['orders:write'], [ORDERS])).toMatchObject({ ok: true, purpose: { apis: [ORDERS] } });
  });

  test.each([
    ['no API', 'ada', ['orders:read'], undefined, /wants the APIs/],
    ['a scope of another API', 'ada', ['bills:read'], [ORDERS], /belongs to none/],
    ['a scope of OpenID Connect', 'ada', ['profile'], [ORDERS], /belongs to none/],
    ['an account that is disabled', 'eve', ['orders:read'], [ORDERS], /is disabled/],
    ['an account that is not there', 'nobody', ['orders:read'], [ORDERS], /no account/],
  ])('is refused for %s', async (_, accountId, scopes, apis, reason) => {
    expect(await ofAccount(accountId, scopes, apis)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(reason),
    });
  });
});

describe('settings', () => {
  const settings = { name: 'CI', allowedAddresses: [] };

  test.each([
    ['no name', { name: '  ' }, 'name'],
    ['a name that is too long', { name: 'x'.repeat(201) }, 'name'],
    ['a name with a control character', { name: 'a\u0000b' }, 'name'],
    ['a name that turns the direction', { name: 'a\u202eb' }, 'name'],
    ['an expiry that has passed', { expiresAt: new Date(NOW) }, 'expiresAt'],
    ['an expiry that is no time', { expiresAt: new Date('x') }, 'expiresAt'],
    ['a range that is none', { allowedAddresses: ['10.0.0.0/99'] }, 'allowedAddresses'],
    ['a quota of nothing', { quota: { requests: 0, windowSeconds: 60 } }, 'quota.requests'],
    ['a window longer than a month', { quota: { requests: 1, windowSeconds: 2_678_401 } }, 'quota.windowSeconds'],
    ['a rate that is not whole', { ratePerSecond: 0.5 }, 'ratePerSecond'],
  ])('are refused with %s', (_, changes, field) => {
    expect(checkSettings({ ...settings, ...changes }, NOW)).toMatchObject({ ok: false, code: 'invalid', field });
  });

  test('keep an expiry that has passed where something else is changed', () => {
    const before = { ...settings, expiresAt: new Date(NOW - 1) };
    expect(checkSettings({ ...before, name: 'other' }, NOW, before).ok).toBe(true);
    expect(checkSettings({ ...before, expiresAt: new Date(NOW - 2) }, NOW, before).ok).toBe(false);
  });
});

describe('at use', () => {
  const key = { scopes: ['a', 'b'], apis: [ORDERS, BILLS] };

  test('a key has of its scopes and APIs what its owner still has', () => {
    expect(effectiveScopes(key, ['b', 'c'])).toEqual(['b']);
    expect(effectiveApis(key, [BILLS, STOCK])).toEqual([BILLS]);
    expect(effectiveApis(key, [STOCK])).toEqual([]);
    expect(effectiveApis(key, [])).toEqual([ORDERS, BILLS]);
  });

  test('a key is live until it is revoked, disabled or has expired', () => {
    const at = new Date(NOW);
    const live = {
      id: '',
      name: '',
      owner: { kind: 'client', clientId: 'x' } as const,
      ...key,
      allowedAddresses: [],
      isDisabled: false,
      createdAt: at,
      updatedAt: at,
    };
    expect(isLive(live, NOW)).toBe(true);
    expect(isLive({ ...live, expiresAt: new Date(NOW + 1) }, NOW)).toBe(true);
    expect(isLive({ ...live, expiresAt: at }, NOW)).toBe(false);
    expect(isLive({ ...live, isDisabled: true }, NOW)).toBe(false);
    expect(isLive({ ...live, revokedAt: at }, NOW)).toBe(false);
  });
});
