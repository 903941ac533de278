import { describe, expect, test } from '@jest/globals';
import { createViews } from '../../../src/http/views.ts';
import { explainFailure } from '../../../src/playground/explain-failure.ts';
import { playgroundPage, playgroundRunPage } from '../../../src/playground/playground-pages.ts';
import type { Run, RunKind } from '../../../src/playground/playground-sessions.ts';
import { presentRun } from '../../../src/playground/present-run.ts';

const views = createViews({ viewsDirectory: 'views' });
const NOW = Date.UTC(2026, 10, 24, 12, 0, 0);
const hostile = '</code><script>alert(1)</script>"';

/** Every answer and token that a page can show. */
const fullRun: Run = {
  tokens: { accessToken: 'opaque-access-token', refreshToken: 'opaque-refresh-token', scope: hostile },
  resource: 'urn:demo:files',
  receivedAt: NOW,
  requests: [{ label: 'Sent', code: hostile }],
  userinfo: { status: 403, body: { error: 'insufficient_scope' }, at: NOW },
  introspectionBefore: { status: 200, body: { active: true, scope: hostile }, at: NOW },
  revocation: { status: 200, body: undefined, at: NOW, token: 'refresh_token' },
  introspectionAfter: { status: 200, body: { active: false }, at: NOW },
  refresh: { status: 400, body: { error: 'invalid_grant', error_description: hostile }, at: NOW, isRotated: false },
};

function render(kind: RunKind, run: Run): string {
  const model = { kind, csrfToken: 't', run: presentRun(kind, run, { issuer: 'http://localhost:3000', now: NOW }) };
  return views.render(playgroundRunPage(model), 'en');
}

const formsOn = (html: string) => [...html.matchAll(/<form[^>]* action="([^"]+)"/g)].map((match) => match[1]);

const pages = [
  render('code', fullRun),
  render('client-credentials', { ...fullRun, tokens: { accessToken: 'x' }, resource: undefined }),
  views.render(playgroundRunPage({ kind: 'code', csrfToken: 't' }), 'en'),
  views.render(
    playgroundRunPage({
      kind: 'client-credentials',
      csrfToken: 't',
      failure: explainFailure({ code: hostile, description: hostile }),
    }),
    'en',
  ),
  views.render(
    playgroundPage({
      csrfToken: 't',
      issuer: 'http://localhost:3000',
      signIn: { email: 'demo@example.com', password: hostile },
      endpoints: [],
      discoveryCommand: 'curl',
      clients: [],
      openidScopes: [],
      languages: [],
      apis: [
        {
          identifier: 'urn:a',
          name: hostile,
          tokenFormat: 'opaque',
          scopes: [{ scope: 'a:read', description: hostile }],
        },
      ],
      notice: { kind: 'warning', title: hostile, text: hostile },
    }),
    'en',
  ),
];

describe('every page of the playground', () => {
  test('holds nothing that a strict content security policy refuses, whatever it shows', () => {
    for (const html of pages) {
      expect(html).not.toMatch(/\sstyle=|<style|\son[a-z]+=|javascript:|alert\(1\)<\/script>/i);
      expect([...html.matchAll(/<script/g)]).toHaveLength(1);
    }
  });

  test('has one heading of the first level, and no id twice', () => {
    for (const html of pages) {
      expect([...html.matchAll(/<h1[ >]/g)]).toHaveLength(1);
      const ids = [...html.matchAll(/\sid="([^"]+)"/g)].map((match) => match[1]);
      expect(new Set(ids).size).toBe(ids.length);
    }
  });

  test('prints no undefined, null or object', () => {
    for (const html of pages) expect(html).not.toMatch(/undefined|\[object|>null</);
  });

  test('protects every form', () => {
    for (const html of pages) {
      const forms = [...html.matchAll(/<form[\s\S]*?<\/form>/g)].map(([form]) => form);
      for (const form of forms) expect(form).toContain('<input type="hidden" name="_csrf" value="t">');
    }
  });
});

describe('the page of a code flow', () => {
  const html = render('code', fullRun);

  test('leads from its top to every section', () => {
    const links = [...html.matchAll(/<li><a href="#([^"]+)"/g)].map((match) => match[1]);
    expect(links).toEqual(['access-token', 'refresh-token', 'userinfo', 'introspection', 'refresh', 'revocation']);
    for (const id of links) expect(html).toContain(`<section class="card" id="${id}"`);
  });

  test('says that the tokens are revoked, leads to what introspection says of them, and offers nothing that is over', () => {
    expect(html).toMatch(/<dt>Revoked<\/dt>\s*<dd>now: the access token and the refresh token<\/dd>/);
    expect(html).not.toContain('Access token expires');
    expect(html).toContain('<a href="#introspection">See the introspection before and after</a>');
    expect(formsOn(html)).toEqual(['/playground/result/introspect', '/playground/sign-out']);
  });

  test('offers everything again where the revocation was refused', () => {
    const refused = { ...fullRun, revocation: { status: 503, body: {}, at: NOW, token: 'access_token' } } as const;
    const page = render('code', refused);
    expect(page).not.toContain('<dt>Revoked</dt>');
    const calls = ['userinfo', 'introspect', 'refresh', 'revoke'].map((name) => `/playground/result/${name}`);
    expect(formsOn(page)).toEqual([...calls, '/playground/sign-out']);
  });

  test('says of a refused refresh what it means for a refresh token', () => {
    const note = /id="refresh"[\s\S]*?<\/section>/.exec(html)?.[0];
    expect(note).toContain('The refresh token is dead');
    expect(note).not.toContain('a code lives for a minute');
  });

  test('tells an answer before revocation from the one after it', () => {
    expect(html).toMatch(/<strong>Before<\/strong>[\s\S]*<strong>After revocation<\/strong>/);
  });
});
