import { describe, expect, test } from '@jest/globals';
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

  test('writes one JSON line per entry in production', () => {
    expect(JSON.parse(logged({ answer: 42 }))).toMatchObject({ level: 30, answer: 42 });
  });
});
