import { describe, expect, test } from '@jest/globals';
import { locales } from '../../../src/http/messages.ts';
import type { ClientView } from '../../../src/http/pages.ts';
import { type ErrorPage, errorPage } from '../../../src/http/show-error.ts';
import { createViews } from '../../../src/http/views.ts';
import { confirmDevicePage, deviceDonePage, userCodePage } from '../../../src/interactions/device-pages.ts';
import {
  type ConsentPage,
  consentPage,
  type SignInPage,
  signedOutPage,
  signInPage,
  signOutPage,
} from '../../../src/interactions/interaction-pages.ts';

const views = createViews({ viewsDirectory: 'views' });
const client: ClientView = {
  clientId: 'acme',
  name: 'Acme & Söhne',
  logoUri: 'https://acme.example/logo.svg',
  clientUri: 'https://acme.example/',
  policyUri: 'https://acme.example/privacy',
  tosUri: 'https://acme.example/terms',
};
const signIn: SignInPage = {
  action: '/interaction/u1/login',
  csrfToken: 'csrf-1',
  login: '',
  client,
  cancelAction: '/interaction/u1/cancel',
};
const consent: ConsentPage = {
  action: '/interaction/u1/consent',
  csrfToken: 'csrf-2',
  client,
  accountLabel: 'mia@example.org',
  redirectHost: 'app.acme.example',
  isRedirectOnDevice: false,
  newScopes: [],
  grantedScopes: [],
  details: [],
  resources: [],
  newClaims: [],
  offlineAccess: false,
};
const error: ErrorPage = {
  code: 'invalid_request',
  status: 400,
  description: 'client_id is missing',
  requestId: 'r-1',
};
const formHtml =
  '<form id="op.logoutForm" method="post" action="/logout/confirm"><input type="hidden" name="xsrf" value="x"/></form>';

const userCode = { action: '/device', xsrf: 'xsrf-1', userCode: '' };
const device = { ...userCode, userCode: 'BCDF-GHJK', client, info: { address: '192.0.2.1', userAgent: 'tv/1.0' } };

const everyPage = locales.flatMap((locale) => [
  views.render(signInPage(signIn), locale),
  views.render(signInPage({ ...signIn, error: 'invalid_credentials' }), locale),
  views.render(consentPage({ ...consent, newScopes: [{ scope: 'email', description: '' }] }), locale),
  views.render(signOutPage({ formHtml, client, accountLabel: 'mia@example.org' }), locale),
  views.render(signOutPage({ formHtml }), locale),
  views.render(signedOutPage({ client }), locale),
  views.render(signedOutPage({}), locale),
  views.render(errorPage({ ...error, client }), locale),
  views.render(userCodePage(userCode), locale),
  ...(['missing', 'unknown', 'expired', 'used', 'out_of_date'] as const).map((fault) =>
    views.render(userCodePage({ ...userCode, fault }), locale),
  ),
  views.render(userCodePage({ ...userCode, fault: 'too_many', retryAfterSeconds: 90 }), locale),
  views.render(confirmDevicePage(device), locale),
  views.render(confirmDevicePage({ ...device, info: {} }), locale),
  views.render(deviceDonePage({ client, isAllowed: true }), locale),
  views.render(deviceDonePage({ isAllowed: false }), locale),
]);

const count = (html: string, pattern: RegExp) => [...html.matchAll(pattern)].length;
const element = (html: string, pattern: RegExp) => html.match(pattern)?.[0] ?? '';
const texts = (html: string, pattern: RegExp) => [...html.matchAll(pattern)].map((match) => match[1]);

describe('every page', () => {
  test('is one document with one heading of the first level and one main part', () => {
    for (const html of everyPage) {
      expect(html).toMatch(/^<!doctype html>\n<html lang="(en|de)">/);
      expect(count(html, /<h1[ >]/g)).toBe(1);
      expect(count(html, /<main[ >]/g)).toBe(1);
      expect(html).toMatch(/<title>[^<]+ · Tessera<\/title>/);
    }
  });

  test('holds nothing that a strict content security policy refuses', () => {
    for (const html of everyPage) {
      expect(html).not.toMatch(/\sstyle=|<style|\son[a-z]+=|javascript:/i);
      expect(texts(html, /<script([^>]*)>/g)).toEqual([expect.stringContaining('src="/assets/enhance.js?v=')]);
    }
  });

  test('prints no undefined, null, boolean or object', () => {
    for (const html of everyPage) expect(html).not.toMatch(/undefined|\[object|>(null|false|true)</);
  });

  test('has no id twice', () => {
    for (const html of everyPage) {
      const ids = texts(html, /\sid="([^"]+)"/g);
      expect(new Set(ids).size).toBe(ids.length);
    }
  });

  test('links its assets by the hash of their content', () => {
    expect(views.render(errorPage(error), 'en')).toMatch(/href="\/assets\/tessera\.css\?v=[\w-]{12}"/);
  });

  test('is written in the language asked for', () => {
    const html = views.render(signInPage(signIn), 'de');
    expect(html).toContain('<html lang="de">');
    expect(html).toContain('>Anmelden</h1>');
  });
});

describe('what a client or a person supplied', () => {
  const hostile = '"><script>alert(1)</script>{account}';

  test('is escaped in text, attributes and sentences', () => {
    const html = [
      views.render(
        signInPage({ ...signIn, login: hostile, csrfToken: hostile, client: { ...client, name: hostile } }),
        'en',
      ),
      views.render(
        consentPage({
          ...consent,
          accountLabel: hostile,
          redirectHost: hostile,
          documentHost: `x${hostile}`,
          newClaims: [hostile],
        }),
        'en',
      ),
      views.render(userCodePage({ ...userCode, xsrf: hostile, userCode: hostile, fault: 'unknown' }), 'en'),
      views.render(
        confirmDevicePage({
          ...device,
          client: { ...client, name: hostile },
          info: { address: hostile, userAgent: hostile },
        }),
        'en',
      ),
      views.render(errorPage({ ...error, code: hostile, description: hostile, requestId: hostile }), 'en'),
    ].join('');
    expect(html).not.toContain('<script>');
    expect(html).toContain('value="&quot;&gt;&lt;script&gt;');
  });

  test('is never read as a placeholder', () => {
    const html = views.render(consentPage({ ...consent, client: { ...client, name: '{account}' } }), 'en');
    expect(html).toContain('<strong dir="auto">{account}</strong> asks you to confirm');
  });

  test.each([
    'javascript:alert(1)',
    'http://acme.example/',
    'data:text/html,x',
    'ftp://acme.example/',
    '//acme.example',
    'nonsense',
  ])('is no link or logo when it is %s', (uri) => {
    const html = views.render(
      signInPage({ ...signIn, client: { ...client, logoUri: uri, clientUri: uri, policyUri: uri, tosUri: uri } }),
      'en',
    );
    expect(html).not.toContain(uri);
    expect(html).not.toContain('<img');
    expect(html).toContain('class="client__initial" aria-hidden="true">A<');
  });

  test('may be linked over http on this machine, for development', () => {
    const html = views.render(signedOutPage({ client: { ...client, clientUri: 'http://localhost:5000/' } }), 'en');
    expect(html).toContain('href="http://localhost:5000/"');
  });

  test('opens outside this page without handing over anything', () => {
    const html = views.render(signInPage(signIn), 'en');
    const links = [...html.matchAll(/<a [^>]*acme\.example[^>]*>/g)].map(([link]) => link);
    expect(links).toHaveLength(3);
    for (const link of links) expect(link).toContain('target="_blank" rel="noopener noreferrer"');
  });

  test.each(['//evil.example', '/\\evil.example', '/\t/evil.example', 'javascript:alert(1)'])(
    'is no way on from an error when it is %j',
    (clientUri) => {
      const html = views.render(errorPage({ ...error, client: { clientId: 'acme', name: 'Acme', clientUri } }), 'en');
      expect(html).not.toContain('Back to');
      expect(html).not.toContain('<a ');
    },
  );
});

describe('sign-in', () => {
  test('has the login field, the password field, the CSRF token and one submit button', () => {
    const html = views.render(signInPage(signIn), 'en');
    expect(element(html, /<input [^>]*name="login"[^>]*>/)).toContain('autocomplete="username"');
    expect(element(html, /<input [^>]*name="password"[^>]*>/)).toContain('autocomplete="current-password"');
    expect(html).toContain('<input type="hidden" name="_csrf" value="csrf-1">');
    expect(count(html, /type="submit"/g)).toBe(1);
    expect(count(html, /<button(?![^>]*type=)/g)).toBe(0);
    expect(html).toContain('href="/interaction/u1/cancel"');
  });

  test('puts the cursor where typing goes on', () => {
    const focused = (model: SignInPage) =>
      texts(views.render(signInPage(model), 'en'), /<(?:input|div) ([^>]*) autofocus/g);
    expect(focused(signIn)).toEqual([expect.stringContaining('id="login"')]);
    expect(focused({ ...signIn, login: 'mia' })).toEqual([expect.stringContaining('id="password"')]);
    expect(focused({ ...signIn, error: 'missing' })).toEqual([expect.stringContaining('role="alert"')]);
  });

  test('keeps what was typed as login, and never a password', () => {
    const html = views.render(signInPage({ ...signIn, login: 'mia@example.org', error: 'invalid_credentials' }), 'en');
    expect(element(html, /<input [^>]*name="login"[^>]*>/)).toContain('value="mia@example.org"');
    expect(element(html, /<input [^>]*name="password"[^>]*>/)).not.toContain('value=');
  });

  test('tells what is wrong in the summary, in the title and beside the field', () => {
    const html = views.render(signInPage({ ...signIn, error: 'missing' }), 'en');
    expect(html).toContain('<title>Error: Sign in');
    expect(html).toContain('<a href="#login">Fill in both fields to sign in.</a>');
    expect(html).toContain('<p class="field__message" id="login-message">Enter your email or user name.</p>');
    expect(element(html, /<input [^>]*name="login"[^>]*>/)).toContain(
      'aria-describedby="login-message" required aria-invalid="true"',
    );
  });

  test.each([
    [1, '1 second'],
    [59.2, '1 minute'],
    [150, '3 minutes'],
    [7200, '2 hours'],
  ])('asks to wait at least the %d seconds that are left', (retryAfterSeconds, duration) => {
    const html = views.render(signInPage({ ...signIn, error: 'too_many_attempts', retryAfterSeconds }), 'en');
    expect(html).toContain(`Wait ${duration}, then try again.`);
  });
});

describe('consent', () => {
  test('offers to allow and to deny, side by side', () => {
    const html = views.render(consentPage(consent), 'en');
    expect(texts(html, /<button [^>]*name="decision" value="(\w+)"/g)).toEqual(['allow', 'deny']);
    expect(html).toContain('<input type="hidden" name="_csrf" value="csrf-2">');
  });

  test('says OpenID scopes in our words, those of an API in its own, and each thing once', () => {
    const html = views.render(
      consentPage({
        ...consent,
        newScopes: [
          { scope: 'openid', description: '' },
          { scope: 'email', description: 'ignored' },
        ],
        newClaims: ['email', 'shoe_size'],
        offlineAccess: true,
        resources: [
          {
            name: 'Orders',
            identifier: 'urn:orders',
            newScopes: [
              { scope: 'orders:write', description: 'Change orders' },
              { scope: 'orders:odd', description: '' },
            ],
            grantedScopes: [{ scope: 'orders:read', description: 'Read orders' }],
          },
        ],
      }),
      'en',
    );
    expect(texts(html, /<li>([^<]+)<\/li>/g)).toEqual([
      'Recognise you when you come back',
      'See your email address',
      'See “shoe_size” in your account',
      'Keep this access while you are away',
      'Change orders',
      'orders:odd',
      'Read orders',
    ]);
    expect(html).toContain('In Orders, it will be able to');
    expect(html).toContain('You allowed this before');
  });

  test('says who asks, for which account, and where the answer goes', () => {
    const html = views.render(consentPage({ ...consent, newScopes: [{ scope: 'openid', description: '' }] }), 'en');
    expect(html).toContain(
      '<strong dir="auto">Acme &#38; Söhne</strong> asks for access to your account <strong dir="auto">mia@example.org</strong>.',
    );
    expect(html).toContain('you go back to <strong dir="auto">app.acme.example</strong>.');
  });

  test('offers another account only where there is a way to it', () => {
    expect(views.render(consentPage(consent), 'en')).not.toContain('formaction');
    expect(views.render(consentPage({ ...consent, switchAccountAction: '/s' }), 'en')).toContain('formaction="/s"');
  });
});

describe('sign-out', () => {
  test('sends the provider’s form, with a choice to stay', () => {
    const html = views.render(signOutPage({ formHtml, client }), 'en');
    expect(html).toContain(formHtml);
    expect(html).toMatch(/<button [^>]*type="submit" form="op\.logoutForm" name="logout" value="yes">Sign out</);
    expect(html).toMatch(/<button [^>]*type="submit" form="op\.logoutForm">Stay signed in</);
  });
});

describe('error', () => {
  test.each([
    'invalid_request',
    'invalid_client',
    'invalid_redirect_uri',
    'unauthorized_client',
    'access_denied',
    'unsupported_response_type',
    'invalid_scope',
    'invalid_target',
    'server_error',
    'temporarily_unavailable',
    'database_unavailable',
    'not_found',
    'session_not_found',
    'interaction_expired',
    'csrf',
    'conflict',
    'unsupported_media_type',
    'payload_too_large',
  ])('says in plain words what %s means and what to do', (code) => {
    const html = views.render(errorPage({ ...error, code }), 'en');
    expect(html).toContain(`data-error="${code}"`);
    expect(html).not.toContain('Something went wrong</h1>');
    expect(count(element(html, /<div class="narrow__head">[\s\S]*?<\/div>/), /<p>[^<]{10,}<\/p>/g)).toBe(2);
  });

  test('bears the protocol’s code while its words follow a finer one of ours', () => {
    const html = views.render(errorPage({ ...error, code: 'session_not_found', oauthCode: 'invalid_request' }), 'en');
    expect(html).toContain('data-error="invalid_request"');
    expect(html).toContain('>This sign-in is no longer open</h1>');
  });

  test('shows the description where the code is unknown', () => {
    const html = views.render(errorPage({ ...error, code: 'teapot', description: 'Short and stout.' }), 'en');
    expect(html).toContain('data-error="teapot"');
    expect(html).toContain('<p>Short and stout.</p>');
  });

  test('gives the request id to quote and one way on', () => {
    const html = views.render(errorPage({ ...error, client }), 'en');
    expect(html).toContain('<code>r-1</code>');
    expect(texts(html, /<a class="button[^"]*" href="([^"]+)"/g)).toEqual(['https://acme.example/']);
  });

  test('keeps what developers want folded away', () => {
    const html = views.render(errorPage(error), 'en');
    expect(element(html, /<details[\s\S]*<\/details>/)).toContain('client_id is missing');
  });
});
