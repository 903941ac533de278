import type { DetailsType } from '../../src/clients/index.ts';
import { unique } from './factories.ts';

export type Payment = {
  type: string;
  amount: { value: string; currency: string };
  creditor: string;
  [member: string]: unknown;
};

/** A type of authorization details as a bank would register it, under a name that no other test uses. */
export function paymentType(): DetailsType {
  return {
    type: unique('payment'),
    title: 'Payment',
    summary: 'Pay {amount.value} {amount.currency} to {creditor}',
    schema: {
      type: 'object',
      additionalProperties: false,
      required: ['amount', 'creditor'],
      properties: {
        creditor: { type: 'string', maxLength: 2_000, title: 'Recipient' },
        reference: { type: 'string', title: 'Reference' },
        isInstant: { type: 'boolean', title: 'At once' },
        amount: {
          type: 'object',
          title: 'Amount',
          additionalProperties: false,
          required: ['value', 'currency'],
          properties: {
            value: { type: 'string', pattern: '^[0-9]{1,9}(\\.[0-9]{2})?$' },
            currency: { type: 'string', pattern: '^[A-Z]{3}$' },
          },
        },
        invoices: {
          type: 'array',
          title: 'Invoice',
          items: {
            type: 'object',
            additionalProperties: false,
            properties: { number: { type: 'string', title: 'Number' } },
          },
        },
      },
    },
  };
}

export function payment(type: string, value = '123.50', others: Record<string, unknown> = {}): Payment {
  return { type, amount: { value, currency: 'EUR' }, creditor: 'Merchant Ltd', ...others };
}
