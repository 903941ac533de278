import { expect, test } from '@jest/globals';
import { isDatabaseUnavailable } from '../../../src/database/index.ts';

const withCode = (code: string) => Object.assign(new Error('connect failed'), { code });

test.each([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOTFOUND',
  'ETIMEDOUT',
])('a network that answers %s is a database that is away', (code) => {
  expect(isDatabaseUnavailable(withCode(code))).toBe(true);
  // Node tries several addresses and tells what came of each.
  expect(isDatabaseUnavailable(new AggregateError([withCode(code)]))).toBe(true);
  expect(isDatabaseUnavailable(new Error('while reading', { cause: withCode(code) }))).toBe(true);
});

test.each(['57P01', '57014', '53100', '53300', '25006', '40001', '40P01', '55P03', '58030'])(
  'SQLSTATE %s is the fault of the database',
  (code) => {
    expect(isDatabaseUnavailable(withCode(code))).toBe(true);
  },
);

test.each(['23505', '42P01', 'ENOENT', ''])('%j is the fault of whoever asked', (code) => {
  expect(isDatabaseUnavailable(withCode(code))).toBe(false);
});
