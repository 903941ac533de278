import { describe, expect, test } from '@jest/globals';
import {
  authorizationParameters,
  clientCredentialsParameters,
  readPlaygroundForm,
} from '../../../src/playground/authorization-request.ts';
import { demoApis } from '../../../src/playground/demo-data.ts';

const authorization = (form: Record<string, unknown>) => authorizationParameters(readPlaygroundForm(form), demoApis);

describe('an authorization request of the playground', () => {
  test('has what was chosen and nothing else', () => {
    expect(authorization({ scope: ['openid', 'email'] })).toEqual({ scope: 'openid email' });
    expect(authorization({ scope: 'openid', prompt: 'login', max_age: '60', ui_locales: 'de' })).toEqual({
      scope: 'openid',
      prompt: 'login',
      max_age: '60',
      ui_locales: 'de',
    });
  });

  test('names the API, with the scopes of that one alone', () => {
    expect(authorization({ scope: ['files:read', 'notes:read', 'openid'], api: 'urn:demo:notes' })).toEqual({
      scope: 'openid notes:read',
      resource: 'urn:demo:notes',
    });
    expect(authorization({ scope: ['files:read', 'openid'] })).toEqual({ scope: 'openid' });
  });

  test.each([
    ['', 'consent'],
    ['login', 'login consent'],
    ['consent', 'consent'],
    ['none', 'none'],
  ])('for offline access turns prompt "%s" into "%s"', (prompt, expected) => {
    expect(authorization({ scope: ['openid', 'offline_access'], prompt }).prompt).toBe(expected);
  });

  test.each([
    ['an API that is not there', { api: 'urn:demo:gone' }],
    ['an unknown prompt', { prompt: 'dance' }],
    ['a maximum age that is not offered', { max_age: '-1' }],
    ['a field given twice', { prompt: ['login', 'none'] }],
    ['no form at all', undefined],
  ])('is refused for %s', (_, form) => {
    expect(() => authorization(form as Record<string, unknown>)).toThrow(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });
});

describe('a client-credentials request of the playground', () => {
  test('has no scope of people', () => {
    const form = readPlaygroundForm({ scope: ['openid', 'files:read', 'files:write'], api: 'urn:demo:files' });
    expect(clientCredentialsParameters(form, demoApis)).toEqual({
      scope: 'files:read files:write',
      resource: 'urn:demo:files',
    });
  });
});
