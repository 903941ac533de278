import { describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createLogger } from '../../../src/telemetry/index.ts';

function logged(entry: object): string {
  const lines: string[] = [];
  const destination = { write: (line: string) => lines.push(line) };
  createLogger({ logLevel: 'trace', environment: 'production' }, destination).info(entry);
  return lines.join('');
}

describe('the logger', () => {
  test.each([
    ['access_token', { access_token: 'SECRET' }],
    ['a token in a body', { body: { refresh_token: 'SECRET' } }],
    ['a header', { req: { headers: { authorization: 'SECRET' } } }],
    ['a cookie header with a dash', { req: { headers: { 'set-cookie': 'SECRET' } } }],
    ['a password four levels down', { a: { b: { c: { password: 'SECRET' } } } }],
    ['an authorization code', { params: { code: 'SECRET' } }],
    ['an authorization code of a request', { req: { query: { code: 'SECRET' } } }],
  ])('removes %s', (_, entry) => {
    expect(logged(entry)).not.toContain('SECRET');
    expect(logged(entry)).toContain('[redacted]');
  });

  test('keeps the code of an error, by which an operator finds its cause', () => {
    const fault = Object.assign(new Error('gone'), { code: 'ECONNREFUSED' });
    expect(logged({ err: fault })).toContain('ECONNREFUSED');
  });

  /** As `pg.Pool` hands it over: with the connection that was lost. */
  function lostConnection(): Error {
    const client = { processID: 4711, secretKey: 271_828, connectionParameters: { host: 'db' } };
    const error = new pg.DatabaseError('terminating connection', 1, 'error');
    return Object.assign(error, { code: '57P01', detail: 'Key (email)=(ada@example.com)', client });
  }

  test('tells of an error what it is, and of nothing that hangs on it, such as a connection with the key that cancels its queries', () => {
    const entry = JSON.parse(logged({ err: lostConnection() }));
    expect(entry.err).toEqual({
      type: 'DatabaseError',
      message: 'terminating connection',
      stack: expect.stringContaining('logger.test.ts'),
      code: '57P01',
    });
  });

  test('tells of a cause in the same way, and ends where an error is its own', () => {
    const fault = new Error('unavailable', { cause: lostConnection() });
    const text = logged({ err: fault });
    expect(JSON.parse(text).err).toMatchObject({
      message: 'unavailable',
      cause: { code: '57P01', type: 'DatabaseError' },
    });
    expect(text).not.toMatch(/secretKey|271828|ada@example/);
    const own = new Error('mine');
    own.cause = own;
    expect(logged({ err: own }).length).toBeLessThan(50_000);
  });

  test.each([
    ['a text', 'gone', { type: 'string', message: 'gone' }],
    ['null', null, { type: 'object', message: 'null' }],
    ['an object that is no error', { client: { secretKey: 1 } }, { type: 'object', message: '[object Object]' }],
    ['an object without a prototype', Object.create(null), { type: 'object', message: '[object Object]' }],
  ])('tells of %s that was thrown', (_, thrown, told) => {
    expect(JSON.parse(logged({ err: thrown })).err).toEqual(told);
  });

  test('writes one JSON line per entry in production', () => {
    expect(JSON.parse(logged({ answer: 42 }))).toMatchObject({ level: 30, answer: 42 });
  });
});
