/**
 * The pages that people see: Eta templates below `views/`, each rendered with a model of its own type.
 *
 * To add a page: name it in `PageModels` with the type of its model, and write `views/pages/<name>.eta`. The template
 * starts with `layout('/layouts/narrow', { title })` (one task) or `layout('/layouts/wide', { title, navigation })`
 * (rail and sections), takes its parts from `views/components` (each says on top what it wants), and finds in `it`:
 * `model`, `locale`, and the functions of `createTemplateTools` below. `<%= %>` escapes; `<%~ %>` does not and is only
 * for `include`, `it.sentence` and HTML of the provider. No style attribute, no inline script: the CSP refuses both.
 *
 * To add a language: translate `views/messages/en.json` into `<tag>.json` and add the tag in `messages.ts`. Every word
 * on a page is a message: `it.t(key, params)` gives text, `it.sentence(key, params)` HTML with the values in bold.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Eta } from 'eta';
import { type Locale, type MessageParams, type Messages, readMessages } from './messages.ts';
import type { PlaygroundPage, PlaygroundRunPage } from './playground-pages.ts';

export interface ClientView {
  clientId: string;
  name: string;
  logoUri?: string | undefined;
  clientUri?: string | undefined;
  policyUri?: string | undefined;
  tosUri?: string | undefined;
}

/** OpenID scopes are described by our messages; `description` serves the scopes of APIs. */
export interface ScopeView {
  scope: string;
  description: string;
}

export interface SignInPage {
  /** Where the form is POSTed: `login`, `password`, `_csrf`. */
  action: string;
  csrfToken: string;
  /** What was typed before, or the `login_hint`; may be empty. */
  login: string;
  client: ClientView;
  error?: 'invalid_credentials' | 'too_many_attempts' | 'missing' | undefined;
  retryAfterSeconds?: number | undefined;
  /** A link (GET) that ends the interaction with `access_denied`. */
  cancelAction: string;
}

export interface ConsentPage {
  /** Where the form is POSTed: `decision` (`allow` or `deny`), `_csrf`. */
  action: string;
  csrfToken: string;
  client: ClientView;
  accountLabel: string;
  redirectHost: string;
  newScopes: ScopeView[];
  grantedScopes: ScopeView[];
  resources: ResourceView[];
  newClaims: string[];
  offlineAccess: boolean;
  /** Where "Use another account" POSTs the same form, without a `decision`. */
  switchAccountAction?: string | undefined;
}

interface ResourceView {
  name: string;
  identifier: string;
  newScopes: ScopeView[];
  grantedScopes: ScopeView[];
}

interface SignOutPage {
  /** The provider's own form (id `op.logoutForm`), trusted HTML. */
  formHtml: string;
  client?: ClientView | undefined;
  accountLabel?: string | undefined;
}

interface SignedOutPage {
  client?: ClientView | undefined;
}

export interface ErrorPage {
  /** Chooses the words; an unknown one shows `description` in place of our own. */
  code: string;
  /** The protocol's code for `[data-error]`, where `code` is a finer one of ours. */
  oauthCode?: string | undefined;
  status: number;
  description: string;
  requestId: string;
  /** Its page is the way on, where it has one. */
  client?: ClientView | undefined;
}

export interface PageModels {
  'sign-in': SignInPage;
  consent: ConsentPage;
  'sign-out': SignOutPage;
  'signed-out': SignedOutPage;
  error: ErrorPage;
  playground: PlaygroundPage;
  'playground-run': PlaygroundRunPage;
}

export interface Views {
  /** @returns a whole HTML document. Throws when the template does (a fault of ours, not of the request). */
  render<Page extends keyof PageModels>(page: Page, model: PageModels[Page], locale: Locale): string;
}

/** Reads messages and hashes assets once; templates are compiled at first use and kept. */
export function createViews({ viewsDirectory }: { viewsDirectory: string }): Views {
  const directory = resolve(viewsDirectory);
  const eta = new Eta({
    views: directory,
    cache: true,
    autoEscape: true,
    autoFilter: true,
    filterFunction: (value) => (value === undefined || value === null ? '' : String(value)),
  });
  const messages = readMessages(join(directory, 'messages'));
  const asset = createAssetLinks(join(directory, 'assets'));
  return {
    render: (page, model, locale) =>
      eta.render(`pages/${page}`, { model, asset, ...createTemplateTools(messages[locale], locale) }).trimStart(),
  };
}

/** Links that carry a hash of the content: cached for ever by browsers, replaced at once by a new release. */
function createAssetLinks(directory: string): (name: string) => string {
  const links = new Map(
    readdirSync(directory).map((name) => {
      const hash = createHash('sha256')
        .update(readFileSync(join(directory, name)))
        .digest('base64url');
      return [name, `/assets/${name}?v=${hash.slice(0, 12)}`];
    }),
  );
  return (name) => {
    const link = links.get(name);
    if (link === undefined) throw new Error(`No asset "${name}"`);
    return link;
  };
}

/** Codes that mean the same to a person as another one. */
const sameWords: Record<string, string | undefined> = {
  session_not_found: 'interaction_expired',
  database_unavailable: 'temporarily_unavailable',
  configuration: 'server_error',
  unsupported_response_mode: 'unsupported_response_type',
};

function createTemplateTools(messages: Messages, locale: Locale) {
  return {
    locale,
    t: (key: string, params?: MessageParams) => messages.text(key, params),
    sentence: (key: string, params: MessageParams) => messages.html(key, params),
    hasMessage: (key: string) => messages.has(key),
    errorWords: (code: string) => {
      const key = `error.${sameWords[code] ?? code}`;
      return messages.has(`${key}.title`) ? key : 'error.unknown';
    },
    describeScope: ({ scope, description }: ScopeView) =>
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
