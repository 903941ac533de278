import type { Locale, MessageParams, Messages } from './messages.ts';

/** Codes that mean the same to a person as another one. */
const sameWords: Record<string, string | undefined> = {
  session_not_found: 'interaction_expired',
  database_unavailable: 'temporarily_unavailable',
  configuration: 'server_error',
  unsupported_response_mode: 'unsupported_response_type',
};

/** What every template finds in `it` beside its model. Throws where a message is missing (a fault of ours). */
export function createTemplateTools(messages: Messages, locale: Locale) {
  return {
    locale,
    t: (key: string, params?: MessageParams) => messages.text(key, params),
    sentence: (key: string, params: MessageParams) => messages.html(key, params),
    hasMessage: (key: string) => messages.has(key),
    errorWords: (code: string) => {
      const key = `error.${sameWords[code] ?? code}`;
      return messages.has(`${key}.title`) ? key : 'error.unknown';
    },
    /** OpenID scopes are described by our messages; `description` serves the scopes of APIs. */
    describeScope: ({ scope, description }: { scope: string; description: string }) =>
      messages.has(`scope.${scope}`) ? messages.text(`scope.${scope}`) : description || scope,
    describeClaim: (claim: string) =>
      messages.has(`claim.${claim}`) ? messages.text(`claim.${claim}`) : messages.text('claim.other', { claim }),
    duration: (seconds: number) => formatDuration(seconds, locale),
    initial: (name: string) => firstLetter(name, locale),
    unique: (texts: string[]) => [...new Set(texts)],
    shorten,
    webUrl,
  };
}

/** Rounded up: who comes back then is let in. */
function formatDuration(seconds: number, locale: Locale): string {
  const whole = Math.max(1, Math.ceil(seconds));
  const [value, unit] = whole < 60 ? [whole, 'second'] : whole < 7200 ? [whole / 60, 'minute'] : [whole / 3600, 'hour'];
  return new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'long' }).format(Math.ceil(value));
}

function firstLetter(name: string, locale: Locale): string {
  const [first] = new Intl.Segmenter(locale, { granularity: 'grapheme' }).segment(name.trim());
  return (first?.segment ?? '').toLocaleUpperCase(locale);
}

/** Long ids keep both ends, by which people tell them apart. */
function shorten(value: string): string {
  return value.length <= 24 ? value : `${value.slice(0, 10)}…${value.slice(-10)}`;
}

/** An address that a client registered, where it is safe to link to: https, or http on this machine. */
function webUrl(value: string | undefined): string | undefined {
  const url = value === undefined ? null : URL.parse(value);
  const isLocal = url !== null && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  return url?.protocol === 'https:' || (url?.protocol === 'http:' && isLocal) ? url.href : undefined;
}
