import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import Koa from 'koa';
import { chooseLocale, locales } from '../../../src/http/messages.ts';

const read = (locale: string): Record<string, string> =>
  JSON.parse(readFileSync(join('views/messages', `${locale}.json`), 'utf8'));
const english = read('en');
const placeholders = (message: string | undefined) => (message?.match(/\{\w+\}/g) ?? []).sort();

const templates = readdirSync('views', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.eta'))
  .map((name) => readFileSync(join('views', name), 'utf8'))
  .join('\n');

describe('messages', () => {
  test.each(locales)('%s has every key of English, with the same placeholders', (locale) => {
    const messages = read(locale);
    expect(Object.keys(messages).sort()).toEqual(Object.keys(english).sort());
    for (const [key, message] of Object.entries(messages)) {
      expect({ key, placeholders: placeholders(message) }).toEqual({ key, placeholders: placeholders(english[key]) });
      expect(message.trim()).not.toBe('');
    }
  });

  test('there is a file for every locale and a locale for every file', () => {
    expect(readdirSync('views/messages').sort()).toEqual(locales.map((locale) => `${locale}.json`).sort());
  });

  test('every key that a template names exists', () => {
    const named = [...templates.matchAll(/(?:\bt|sentence)\('([\w.]+)'/g)].map((match) => match[1] ?? '');
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((key) => !(key in english))).toEqual([]);
  });

  test('no message is left that nothing names', () => {
    const isComputed = (key: string) => /^(scope|claim|error|sign_in\.error|device\.error)\./.test(key);
    expect(Object.keys(english).filter((key) => !isComputed(key) && !templates.includes(`'${key}'`))).toEqual([]);
  });
});

/** The tags of a browser's header, as Koa reads them. */
function accepted(header: string | undefined): string[] {
  const app = new Koa();
  const request = Object.assign(Object.create(app.request), { req: { headers: { 'accept-language': header } } });
  return request.acceptsLanguages();
}

describe('the language of a page', () => {
  test.each([
    ['the first of ui_locales that we have', 'fr de-CH en', 'en', 'de'],
    ['ui_locales before the browser’s header', 'en', 'de', 'en'],
    ['the header where ui_locales names none of ours', 'fr', 'de-AT,de;q=0.9', 'de'],
    ['the best quality of the header', undefined, 'en;q=0.5, de;q=0.8', 'de'],
    ['nothing that the header refuses', undefined, 'de;q=0, en;q=0.1', 'en'],
    ['a tag in any case, with script and region', 'DE-Latn-DE', undefined, 'de'],
    ['English where nothing fits', 'tlh', '*', 'en'],
    ['English for garbage', '-- ;;, q', 'de;q=abc,;q=', 'en'],
    ['English where nothing is asked', undefined, undefined, 'en'],
  ])('is %s', (_, uiLocales, acceptLanguage, locale) => {
    expect(chooseLocale(uiLocales, accepted(acceptLanguage))).toBe(locale);
  });

  test('is found at once in what is asked for, however long it is', () => {
    expect(chooseLocale(`${'x '.repeat(1_000_000)}de`, accepted('en'))).toBe('en');
    // The listener takes no head above 64 KiB.
    expect(chooseLocale(undefined, accepted(`${'x,'.repeat(32_000)}de`))).toBe('de');
  });
});
