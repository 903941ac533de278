import { expect, test } from '@jest/globals';
import { givenMetadata } from '../../../src/cli/client-metadata-flags.ts';

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
