import { describe, expect, test } from '@jest/globals';
import { readDecision } from '../../../src/oidc/claims-decision.ts';

describe('what a claims hook answers', () => {
  test.each([[undefined], [null], [{}], [{ claims: {} }]])('adds nothing: %j', (answer) => {
    expect(readDecision(answer)).toEqual({ kind: 'claims', claims: {} });
  });

  test('adds claims as JSON has them', () => {
    const claims = {
      tenant: 'acme',
      'https://example.com/level': 3,
      since: new Date(0),
      nested: { list: [true, null] },
    };
    expect(readDecision({ claims })).toEqual({
      kind: 'claims',
      claims: { ...claims, since: '1970-01-01T00:00:00.000Z' },
    });
  });

  test('refuses with a reason', () => {
    expect(readDecision({ refuse: 'not from there' })).toEqual({ kind: 'refusal', reason: 'not from there' });
  });

  test.each([
    ...['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'azp', 'scope', 'cnf', 'act', 'may_act', 'roles'],
    ...['authorization_details', 'active', 'token_type', 'username', 'nonce', 'sid', 'at_hash', 'email_verified'],
    ...['acr', 'amr', 'auth_time', 'email', 'name', 'phone_number', 'groups', 'events'],
  ])('can not say %s', (name) => {
    expect(readDecision({ claims: { [name]: 'x' } })).toMatchObject({ kind: 'fault' });
  });

  const circular: Record<string, unknown> = {};
  circular.self = circular;
  test.each<[string, unknown]>([
    ['a text', 'deny'],
    ['false, which could mean anything', false],
    ['a list', [{ tenant: 'acme' }]],
    ['what it wants to add without saying so', { tenant: 'acme' }],
    ['both', { claims: {}, refuse: 'no' }],
    ['a refusal without words', { refuse: '' }],
    ['a refusal that is true', { refuse: true }],
    ['a refusal with a line break', { refuse: 'no\r\nSet-Cookie: a' }],
    ['a refusal with quotes', { refuse: '"no"' }],
    ['a refusal of many words', { refuse: 'a'.repeat(201) }],
    ['claims that are a text', { claims: 'tenant' }],
    ['claims that are a list', { claims: ['tenant'] }],
    ['claims that are null', { claims: null }],
    ['a claim without a name', { claims: { '': 1 } }],
    ['a claim with a name of another kind', { claims: { 'a b': 1 } }],
    ['a claim that would change all objects', JSON.parse('{"claims":{"__proto__":{"x":1}}}')],
    ['too much', { claims: { tenant: 'a'.repeat(2_048) } }],
    ['what has no end', { claims: circular }],
    ['what JSON can not hold', { claims: { big: 1n } }],
  ])('is a fault where it is %s', (_, answer) => {
    expect(readDecision(answer)).toMatchObject({ kind: 'fault', error: expect.any(Error) });
  });
});
