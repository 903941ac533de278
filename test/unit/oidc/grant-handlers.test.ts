import { expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair } from 'jose';
import type { Configuration, TokenEndpointGrantContext } from 'oidc-provider';
import { GrantProvider } from '../../../src/oidc/grant-handlers.ts';

const ISSUER = 'https://id.example.com';
const { privateKey } = await generateKeyPair('RS256', { extractable: true });
const unused = async () => undefined;
const basis: Configuration = {
  jwks: { keys: [{ ...(await exportJWK(privateKey)), use: 'sig' }] },
  cookies: { keys: ['a key'] },
  adapter: () => ({
    upsert: unused,
    find: unused,
    findByUserCode: unused,
    findByUid: unused,
    consume: unused,
    destroy: unused,
    revokeByGrantId: unused,
  }),
};
const features = { devInteractions: { enabled: false } };
const withClientCredentials: Configuration = {
  ...basis,
  features: { ...features, clientCredentials: { enabled: true } },
};
const context = {} as TokenEndpointGrantContext;

test('a provider is not made whose library has registered no handler for client credentials', () => {
  expect(() => new GrantProvider(ISSUER, { ...basis, features })).toThrow(/no handler for client_credentials/);
  expect(() => new GrantProvider(ISSUER, withClientCredentials)).not.toThrow();
});

test('the handlers of the library stay within reach, whatever is put around them', () => {
  const provider = new GrantProvider(ISSUER, withClientCredentials);
  const handler = provider.builtInHandler('client_credentials');
  const wrapped: unknown[] = [];
  provider.wrapGrant('client_credentials', (inner) => {
    wrapped.push(inner);
    return inner;
  });
  provider.wrapGrant('client_credentials', (inner) => {
    wrapped.push(inner);
    return () => undefined;
  });
  expect(wrapped).toEqual([handler, handler]);
  expect(provider.builtInHandler('client_credentials')).toBe(handler);
});

test('each provider has its own, and what is registered later hides none of them', async () => {
  const [one, other] = [
    new GrantProvider(ISSUER, withClientCredentials),
    new GrantProvider(ISSUER, withClientCredentials),
  ];
  expect(one.builtInHandler('client_credentials')).not.toBe(other.builtInHandler('client_credentials'));
  const handler = one.builtInHandler('client_credentials');
  one.registerGrantType('client_credentials', () => undefined);
  expect(one.builtInHandler('client_credentials')).toBe(handler);
  one.registerGrantType('urn:example:grant', () => undefined);
  await expect(Promise.resolve(one.builtInHandler('urn:example:grant')(context))).resolves.toBeUndefined();
  expect(() => other.builtInHandler('urn:example:grant')).toThrow(TypeError);
});
