import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The languages of the pages, the default first. A new one is a file in `views/messages` and a word here. */
export const locales = ['en', 'de'] as const;
export type Locale = (typeof locales)[number];
export type MessageParams = Record<string, string | number>;

/** Longer preferences come from no browser; what stands behind this many characters is ignored. */
const MAX_PREFERENCE_LENGTH = 500;
const DEFAULT_LOCALE: Locale = locales[0];

export interface Messages {
  /** @returns whether a message of that key exists */
  has(key: string): boolean;
  /** The message as plain text, its `{placeholders}` filled. Throws when the key or a placeholder's value is missing. */
  text(key: string, params?: MessageParams): string;
  /** The message as HTML: everything escaped, every filled-in value set in `<strong>` and isolated from the writing direction around it. */
  html(key: string, params: MessageParams): string;
}

/** Reads `<locale>.json` for every locale. Throws when a file is missing or isn't JSON. */
export function readMessages(directory: string): Record<Locale, Messages> {
  const read = (locale: Locale) => createMessages(JSON.parse(readFileSync(join(directory, `${locale}.json`), 'utf8')));
  return Object.fromEntries(locales.map((locale) => [locale, read(locale)])) as Record<Locale, Messages>;
}

function createMessages(messages: Record<string, string>): Messages {
  const find = (key: string): string => {
    const message = Object.hasOwn(messages, key) ? messages[key] : undefined;
    if (message === undefined) throw new Error(`No message "${key}"`);
    return message;
  };
  // One pass, so that a value that itself looks like a placeholder stays what it is.
  const fill = (key: string, message: string, params: MessageParams, present: (value: string) => string) =>
    message.replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = Object.hasOwn(params, name) ? params[name] : undefined;
      if (value === undefined) throw new Error(`Message "${key}" wants a value for {${name}}`);
      return present(String(value));
    });
  return {
    has: (key) => Object.hasOwn(messages, key),
    text: (key, params = {}) => fill(key, find(key), params, (value) => value),
    html: (key, params) =>
      fill(key, escapeHtml(find(key)), params, (value) => `<strong dir="auto">${escapeHtml(value)}</strong>`),
  };
}

/**
 * The page's language by BCP 47 lookup (RFC 4647 §3.4): each wanted tag in turn, shortened from its end until it is one
 * of ours, so that `de-CH` finds `de`.
 * @param uiLocales OIDC `ui_locales`: tags separated by spaces, most wanted first; goes before the browser's header
 * @param accepted the browser's tags, most wanted first (Koa's `context.acceptsLanguages()`)
 */
export function chooseLocale(uiLocales: string | undefined, accepted: readonly string[]): Locale {
  const asked = (uiLocales ?? '').slice(0, MAX_PREFERENCE_LENGTH).split(/\s+/);
  for (const tag of [...asked, ...accepted]) {
    const locale = lookUp(tag);
    if (locale) return locale;
  }
  return DEFAULT_LOCALE;
}

function lookUp(tag: string): Locale | undefined {
  const subtags = tag.toLowerCase().split('-');
  while (subtags.length > 0) {
    const range = subtags.join('-');
    const found = locales.find((locale) => locale === range);
    if (found) return found;
    subtags.pop();
  }
  return undefined;
}

/** Text made safe inside HTML elements and quoted attributes. */
function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
