import { describe, expect, test } from '@jest/globals';
import { givenMetadata, inferredApplicationType } from '../../../src/cli/client-metadata-flags.ts';

const publicClient = (...redirect_uris: string[]) => ({ redirect_uris, token_endpoint_auth_method: 'none' });

describe('a public client is native when all of its codes go to the device itself', () => {
  test.each([
    ['http://127.0.0.1/cb'],
    ['http://127.0.0.1:8080/cb'],
    ['http://[::1]/cb'],
    ['http://localhost:3000/cb'],
    ['com.example.app:/cb'],
  ])('%s', (uri) => {
    expect(inferredApplicationType({}, publicClient(uri))).toEqual({ application_type: 'native' });
  });

  test.each([['https://app.example/cb'], ['http://localhost.evil.example/cb'], ['http://127.0.0.1.evil.example/cb']])(
    'not %s',
    (uri) => {
      expect(inferredApplicationType({}, publicClient(uri))).toEqual({});
      expect(inferredApplicationType({}, publicClient('http://127.0.0.1/cb', uri))).toEqual({});
    },
  );

  test('not one that authenticates, nor one of pages that call from their own origin', () => {
    const uri = 'http://localhost:3000/cb';
    expect(
      inferredApplicationType({}, { redirect_uris: [uri], token_endpoint_auth_method: 'client_secret_basic' }),
    ).toEqual({});
    expect(inferredApplicationType({}, { redirect_uris: [uri] })).toEqual({});
    expect(inferredApplicationType({ origin: ['http://localhost:3000'] }, publicClient(uri))).toEqual({});
    expect(inferredApplicationType({}, publicClient())).toEqual({});
  });
});

test('options become members of RFC 7591, and what is not given is left out', async () => {
  expect(
    await givenMetadata({ scope: ' openid  profile ', grant: ['authorization_code'], authMethod: 'none' }),
  ).toEqual({
    scope: 'openid profile',
    grant_types: ['authorization_code'],
    token_endpoint_auth_method: 'none',
  });
  expect(await givenMetadata({})).toEqual({});
});
