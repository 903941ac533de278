import { expect } from '@jest/globals';
import type { Answer } from './token-requests.ts';

const isRetryAfter = /^[1-9]\d*$/;

/** Whether an answer is a refusal that says when to try again, and no verdict on anything. */
export function isUnavailable({ status, body, headers }: Answer): boolean {
  const isRefusal = status === 503 && body.error === 'temporarily_unavailable' && body.active === undefined;
  return isRefusal && isRetryAfter.test(headers.get('retry-after') ?? '');
}

/** Expects the same, and shows what it is instead where it is not. */
export function expectUnavailable({ status, body, headers }: Answer, what = 'the answer'): void {
  expect({ what, status, error: body.error, active: body.active, retryAfter: headers.get('retry-after') }).toEqual({
    what,
    status: 503,
    error: 'temporarily_unavailable',
    active: undefined,
    retryAfter: expect.stringMatching(isRetryAfter),
  });
}
