import { describe, expect, test } from '@jest/globals';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { addDetails, richAuthorizationRequests } from '../../../src/oidc/rich-authorization.ts';
import { payment } from '../../harness/payments.ts';

type Grant = NonNullable<KoaContextWithOIDC['oidc']['grant']>;

const grantOf = (...rar: Grant['rar'] & {}) => ({ rar }) as Grant;
const feature = richAuthorizationRequests({
  apis: { all: () => [] } as never,
  clients: { find: async () => undefined },
});
const allowed = (grant: Grant, ...asked: unknown[]) => {
  const oidc = { grant, params: { authorization_details: JSON.stringify(asked) } };
  return feature.authorizationDetailsForGrantSource({ oidc } as unknown as KoaContextWithOIDC, {} as never);
};

describe('a grant', () => {
  test('gives what was allowed, whatever the order of its members', () => {
    const { amount, ...others } = payment('payment', '5');
    expect(allowed(grantOf({ ...others, amount }), payment('payment', '5'))).toEqual([payment('payment', '5')]);
  });

  test.each([
    ['another amount', payment('payment', '50')],
    ['a member more', payment('payment', '5', { reference: 'x' })],
    ['another type', payment('transfer', '5')],
  ])('gives nothing at all where something else is asked beside it: %s', (_, other) => {
    expect(() => allowed(grantOf(payment('payment', '5')), payment('payment', '5'), other)).toThrow(
      expect.objectContaining({ error: 'access_denied' }),
    );
  });

  test('has a details object once, and forgets the oldest before it grows without end', () => {
    const grant = grantOf();
    addDetails(grant, [payment('payment', '1')]);
    addDetails(grant, [payment('payment', '1')]);
    expect(grant.rar).toEqual([payment('payment', '1')]);
    for (let value = 2; value <= 100; value += 1) {
      addDetails(grant, [payment('payment', String(value), { reference: 'x'.repeat(4_000) })]);
    }
    expect(JSON.stringify(grant.rar).length).toBeLessThanOrEqual(65_536);
    expect(grant.rar?.at(-1)).toMatchObject({ amount: { value: '100' } });
  });
});
