import { expect, test } from '@jest/globals';
import { oneLine, toFaultLine } from '../../../src/cli/fault-line.ts';
import { AppError } from '../../../src/errors.ts';

test('a fault is one line, however many it has', () => {
  const message = 'ISSUER wants https\nPORT wants a number';
  expect(toFaultLine(new AppError({ code: 'configuration', message }))).toBe('ISSUER wants https; PORT wants a number');
  expect(oneLine("error: unknown command 'clent'\n(Did you mean client?)\n")).toBe(
    "error: unknown command 'clent' (Did you mean client?)",
  );
  expect(toFaultLine(new Error('one\n\n  two'))).toBe('unexpected: one; two');
});

test('a database that is away is told by its reason, also where the error has a code alone', () => {
  const both = new AggregateError([new Error('connect ECONNREFUSED ::1:5432')]);
  Object.assign(both, { code: 'ECONNREFUSED' });
  expect(toFaultLine(both)).toBe("the database can't be reached (ECONNREFUSED): check DATABASE_URL");
  const refused = Object.assign(new Error('password authentication failed'), { code: '28P01', severity: 'FATAL' });
  expect(toFaultLine(refused)).toBe('the database refused: password authentication failed');
});
