import { describe, expect, test } from '@jest/globals';
import { checkNewApi } from '../../../src/clients/api.ts';
import { describeDetail } from '../../../src/clients/describe-details.ts';
import type { DetailsType } from '../../../src/clients/details-schema.ts';
import { detailFault } from '../../../src/clients/details-type.ts';
import { payment, paymentType } from '../../harness/payments.ts';

const API = 'urn:test:bank';
const bankType = { ...paymentType(), type: 'payment' };
const registered = (detailsTypes: DetailsType[]) =>
  checkNewApi({ identifier: API, scopes: [], tokenFormat: 'jwt', detailsTypes });
const sentence = (detail: ReturnType<typeof payment>) =>
  describeDetail(bankType, detail)
    .summary.map(({ text, isValue }) => (isValue ? `[${text}]` : text))
    .join('');

describe('a type of authorization details', () => {
  test('is registered as it was given', () => {
    expect(registered([bankType])).toMatchObject({ ok: true, draft: { detailsTypes: [bankType] } });
  });

  test.each<[string, DetailsType[], string]>([
    ['twice in an API', [bankType, bankType], 'payment stands there twice'],
    ['with a name that is none', [{ ...bankType, type: 'a b' }], 'wants types of'],
    ['with a name that changes prototypes', [{ ...bankType, type: '__proto__' }], 'wants types of'],
    ['whose title turns the direction', [{ ...bankType, title: '\u202epay' }], 'wants a title without control'],
    ['whose summary names what its schema has not', [{ ...bankType, summary: 'Pay {total}' }], '{total}'],
    ['whose summary has half a field', [{ ...bankType, summary: 'Pay {amount' }], 'a brace that belongs to no field'],
    ['of something else than objects', [{ ...bankType, schema: { type: 'array' } }], 'wants a schema of an object'],
    ['that lets unknown fields in', [{ ...bankType, schema: { type: 'object' } }], 'additionalProperties'],
    [
      'that lets them in further down',
      [
        {
          ...bankType,
          summary: 'Pay',
          schema: { type: 'object', additionalProperties: false, properties: { a: { type: 'object' } } },
        },
      ],
      'additionalProperties',
    ],
    [
      'with a keyword that nothing checks',
      [{ ...bankType, summary: 'Pay', schema: { type: 'object', additionalProperties: false, propertees: {} } }],
      'unknown keyword',
    ],
    [
      'that refers to another document',
      [
        {
          ...bankType,
          summary: 'Pay',
          schema: { type: 'object', additionalProperties: false, properties: { a: { $ref: 'https://example.com/a' } } },
        },
      ],
      "can't resolve reference",
    ],
  ])('is refused %s', (_, types, reason) => {
    const checked = registered(types);
    expect(checked).toMatchObject({ ok: false, field: 'detailsTypes' });
    expect('reason' in checked && checked.reason).toContain(reason);
  });
});

describe('a details object', () => {
  test('is taken with every field of its schema, its type and the location of its API', () => {
    expect(
      detailFault(bankType, API, payment('payment', '1', { locations: [API], reference: 'Rent' })),
    ).toBeUndefined();
  });

  test.each<[string, Record<string, unknown>, string]>([
    ['that its schema does not know', { hidden: 'x' }, 'must NOT have additional properties'],
    ['of another location', { locations: [API, 'urn:test:other'] }, 'other locations'],
    ['with a control character', { creditor: 'a\0b' }, 'control characters'],
    ['that turns the direction', { creditor: 'a\u2066b' }, 'control characters'],
    ['that every object inherits', JSON.parse('{"constructor":"x"}'), 'no object may have'],
    ['that is too long', { reference: 'x'.repeat(8_200) }, 'more than 8192 characters'],
    ['that is too deep', { invoices: JSON.parse('['.repeat(1_000) + ']'.repeat(1_000)) }, 'deeper than'],
  ])('is refused with a field %s', (_, others, fault) => {
    expect(detailFault(bankType, API, payment('payment', '1', others))).toContain(fault);
  });

  test('is refused without repeating what it says', () => {
    const fault = detailFault(bankType, API, payment('payment', 'a secret'));
    expect(fault).toContain('must match pattern');
    expect(fault).not.toContain('secret');
  });
});

describe('in plain words', () => {
  test('what a client filled in is told from the words around it', () => {
    expect(sentence(payment('payment', '5'))).toBe('Pay [5] [EUR] to [Merchant Ltd]');
  });

  test('a value that looks like a field stays what it is', () => {
    expect(sentence(payment('payment', '5', { creditor: '{amount.value}' }))).toContain('to [{amount.value}]');
  });

  test('what the sentence says is not said again, and all the rest is, by its titles', () => {
    const detail = payment('payment', '5', {
      reference: 'Rent',
      isInstant: false,
      invoices: [{ number: 'A1' }, {}],
      unheardOf: { deep: [1, null] },
    });
    expect(describeDetail(bankType, detail).fields).toEqual([
      { label: 'Reference', value: 'Rent' },
      { label: 'At once', value: false },
      { label: 'Invoice 1 › Number', value: 'A1' },
      { label: 'Invoice 2', value: null },
      { label: 'unheardOf › deep', value: '1' },
      { label: 'unheardOf › deep', value: null },
    ]);
  });

  test.each([{ creditor: '' }, { creditor: {} }, { creditor: [] }, { creditor: [{}] }])(
    'there is no half sentence where a field has nothing to say, and every field stands by itself (%j)',
    (others) => {
      const { summary, fields } = describeDetail(bankType, payment('payment', '5', others));
      expect(summary).toEqual([]);
      expect(fields.map(({ label }) => label)).toEqual(
        expect.arrayContaining(['Amount › value', 'Amount › currency', expect.stringContaining('Recipient')]),
      );
    },
  );

  test('a list stands in the sentence entry by entry', () => {
    expect(sentence(payment('payment', '5', { creditor: ['Anna', 'Ben'] }))).toContain('to [Anna, Ben]');
  });

  test('a name with a dot in it is not taken for a field that the sentence says', () => {
    const { fields } = describeDetail(bankType, payment('payment', '5', { 'amount.value': '5000' }));
    expect(fields).toEqual([{ label: 'amount.value', value: '5000' }]);
  });

  test('titles are found behind references within the schema', () => {
    const schema = {
      type: 'object',
      additionalProperties: false,
      properties: { to: { $ref: '#/$defs/person' } },
      $defs: {
        person: {
          type: 'object',
          title: 'To',
          additionalProperties: false,
          properties: { iban: { type: 'string', title: 'Account' } },
        },
      },
    };
    const type = { ...bankType, summary: 'Pay', schema };
    expect(registered([type])).toMatchObject({ ok: true });
    expect(describeDetail(type, { type: 'payment', to: { iban: 'DE1' } }).fields).toEqual([
      { label: 'To › Account', value: 'DE1' },
    ]);
  });
});
