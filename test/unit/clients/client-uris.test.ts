import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { originFault, redirectUriFault, webUriFault } from '../../../src/clients/client-uris.ts';

describe('redirect URIs', () => {
  test.each([
    'https://app.example.com',
    'https://app.example.com/callback?from=tessera',
    'http://localhost:3000/callback',
    'http://127.0.0.1/callback',
    'http://[::1]:8080/callback',
    'com.example.app:/callback',
    'com.example.app://callback',
  ])('%s can be registered', (uri) => {
    expect(redirectUriFault(uri)).toBeUndefined();
  });

  test.each([
    ['https://app.example.com/callback#', /fragment/],
    ['https://app.example.com/callback#part', /fragment/],
    ['com.example.app:/callback#part', /fragment/],
    ['http://app.example.com/callback', /wants https/],
    ['http://127.0.0.1.example.com/callback', /wants https/],
    ['https://user@app.example.com/callback', /user name/],
    ['https://*.example.com/callback', /wildcard/],
    ['myapp://callback', /scheme without a dot/],
    ['javascript:alert(1)', /scheme without a dot/],
    ['data:text/html,hello', /scheme without a dot/],
    ['/callback', /not an absolute URI/],
    ['callback', /not an absolute URI/],
    ['', /not an absolute URI/],
    ['https:app.example.com', /not an absolute URI/],
    ['https:///app.example.com', /not an absolute URI/],
    ['HTTPS://app.example.com/', /not an absolute URI/],
    ['https://app.example.com/call back', /not an absolute URI/],
    ['https://app.example.com/call\tback', /not an absolute URI/],
    ['https://app.example.com\\@evil.example', /not an absolute URI/],
    ['https://äpp.example.com/', /not an absolute URI/],
    [`https://app.example.com/${'a'.repeat(2_048)}`, /not an absolute URI/],
  ])('%s is refused with its reason', (uri, reason) => {
    expect(redirectUriFault(uri)).toMatch(reason);
  });

  test('whatever is accepted leads where it says, and to no plain http but loopback', () => {
    const part = fc.constantFrom(
      'http',
      'https',
      ':',
      '/',
      '//',
      '@',
      '#',
      '\\',
      '.',
      '*',
      'a.example',
      'localhost',
      '%',
      ' ',
      '?',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(part, fc.string({ maxLength: 3 })), { maxLength: 8 }), (parts) => {
        const uri = parts.join('');
        if (redirectUriFault(uri) !== undefined) return;
        const url = new URL(uri);
        expect(uri.startsWith(url.protocol)).toBe(true);
        expect(uri).not.toMatch(/[#\s\\]/);
        if (url.protocol === 'http:') expect(['localhost', '127.0.0.1', '[::1]']).toContain(url.hostname);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('addresses that are fetched', () => {
  test.each(['https://app.example.com/logo.svg', 'http://localhost:3000/jwks'])('%s can be registered', (uri) => {
    expect(webUriFault(uri)).toBeUndefined();
  });

  test.each([
    ['http://app.example.com/jwks', /wants https/],
    ['com.example.app:/logo', /not an https URL/],
    ['javascript:alert(1)', /not an https URL/],
    ['logo.svg', /not an https URL/],
  ])('%s is refused with its reason', (uri, reason) => {
    expect(webUriFault(uri)).toMatch(reason);
  });
});

describe('origins', () => {
  test.each(['https://app.example.com', 'http://localhost:3000'])('%s can be registered', (origin) => {
    expect(originFault(origin)).toBeUndefined();
  });

  test.each([
    ['https://app.example.com/', /did you mean https:\/\/app\.example\.com\?/],
    ['https://app.example.com:443', /did you mean https:\/\/app\.example\.com\?/],
    ['https://App.example.com', /did you mean https:\/\/app\.example\.com\?/],
    ['http://app.example.com', /wants https/],
    ['https://*.example.com', /wildcard/],
    ['*', /not an https URL/],
    ['null', /not an https URL/],
  ])('%s is refused with its reason', (origin, reason) => {
    expect(originFault(origin)).toMatch(reason);
  });
});
