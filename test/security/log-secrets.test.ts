import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { createTestAccount, createTestClient, REDIRECT_URI } from '../harness/factories.ts';
import { authorizationRequest, codeFor } from '../harness/flows.ts';
import { recordingLogger } from '../harness/loggers.ts';
import { Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { introspect, post, redeem, refresh, revoke, userinfo } from '../harness/token-requests.ts';
import { until } from '../harness/until.ts';
import { findSecret, readEverything } from './database-dump.ts';
import { FORM, rawRequest } from './raw-http.ts';
import { runEverything, type Secrets, serverSecrets, type WholeRun } from './whole-run.ts';

const log = recordingLogger();
const printed: string[] = [];
/** Every answer that was sent, with where it went. */
const answers: { method: string; url: string; location: string; contentType: string; text: string }[] = [];
let server: TestServer;
let run: WholeRun;
let secrets: Secrets;

/** Mistakes of apps and people that bring secrets to places where they don't belong. */
const misplaced = (name: string) => `${name.replaceAll(' ', '-')}-${randomBytes(16).toString('base64url')}`;

beforeAll(async () => {
  for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) {
    jest.spyOn(console, method).mockImplementation((...words) => {
      printed.push(words.join(' '));
    });
  }
  recordAnswers();
  server = await startTestServer({
    logger: log.logger,
    environment: { SIGN_IN_ATTEMPTS_PER_ACCOUNT: '3', REGISTRATION: 'token' },
  });
  run = await runEverything(server);
  secrets = new Map([...run.secrets, ...(await serverSecrets(server))]);
  await failEverywhere();
  await failWithABrokenDatabase();
  await until('the fault is logged', () => log.lines.some(({ status }) => status === 500));
});
afterAll(async () => {
  await server.close();
  jest.restoreAllMocks();
});

function recordAnswers(): void {
  const { fetch } = globalThis;
  jest.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
    const response = await fetch(input, init);
    answers.push({
      method: init?.method ?? 'GET',
      url: String(input),
      location: response.headers.get('location') ?? '',
      contentType: response.headers.get('content-type') ?? '',
      text: await response.clone().text(),
    });
    return response;
  });
}

async function failEverywhere(): Promise<void> {
  const { issuer } = server;
  const { client } = run;
  const keep = (name: string) => {
    const value = misplaced(name);
    secrets.set(`misplaced ${name}`, value);
    return value;
  };
  await introspect(issuer, { id: client.id, secret: keep('wrong client secret') }, keep('token of nobody'));
  await post(`${issuer}/token`, undefined, {
    grant_type: 'client_credentials',
    client_id: client.id,
    client_secret: keep('wrong secret in the body'),
  });
  await redeem(issuer, client, keep('wrong code'), keep('wrong verifier'));
  await refresh(issuer, client, keep('wrong refresh token'));
  await revoke(issuer, client, keep('unknown token'));
  await userinfo(issuer, keep('wrong bearer'));
  await post(`${issuer}/token`, client, { grant_type: keep('a secret as grant type') });
  await rawRequest(issuer, { path: `/userinfo?access_token=${keep('bearer in the query')}` });
  await rawRequest(issuer, { path: `/${keep('secret-as-a-path')}` });
  await rawRequest(issuer, { path: `/interaction/${keep('uid')}/sign-in`, headers: { cookie: `a=${keep('cookie')}` } });
  await rawRequest(issuer, {
    path: '/jwks',
    headers: { 'x-request-id': keep('request-id'), referer: keep('referer') },
  });
  await rawRequest(issuer, { method: 'POST', path: '/token', headers: FORM, body: `code=${keep('cut short')}&%` });
  const wrongKey = (name: string) => `tsk_${'0'.repeat(16)}_${keep(name)}`;
  for (const path of ['/token', '/introspect', '/userinfo']) {
    const bearer = { authorization: `Bearer ${wrongKey(`wrong API key at ${path.slice(1)}`)}` };
    await rawRequest(issuer, { method: 'POST', path, headers: { ...FORM, ...bearer }, body: 'token=a' });
  }
  await introspect(issuer, client, wrongKey('wrong API key to introspect'));
  const authorization = keep('broken authorization');
  await rawRequest(issuer, { method: 'POST', path: '/token', headers: { ...FORM, authorization }, body: 'a=b' });
  await rawRequest(issuer, { path: `/authorize?client_id=${client.id}&request=${keep('request object')}` });
  await rawRequest(issuer, { path: `/logout?id_token_hint=${keep('id token hint')}` });

  const person = new Person();
  let page = await person.open(authorizationRequest(issuer, client.id).url);
  const typed = keep('a password typed into the field of the login');
  page = await person.submit(page, { login: typed, password: keep('wrong password') }, '/sign-in');
  for (let attempt = 0; attempt < 4; attempt += 1) {
    page = await person.submit(page, { login: run.account.login, password: keep('guess') }, '/sign-in');
  }
  expect(page.response.status).toBe(429);
}

/** Faults that nobody foresaw: what the driver says of them holds statements, and may hold their values. */
async function failWithABrokenDatabase(): Promise<void> {
  const { issuer, domains } = server;
  const { knex } = domains.database;
  const client = await createTestClient(domains);
  const credentials = await createTestAccount(domains);
  const issued = await codeFor(issuer, client, credentials);
  const person = new Person();
  const page = await person.open(authorizationRequest(issuer, client.id).url);
  const typed = misplaced('typed');
  secrets.set('typed into the login field of a broken server', typed);
  secrets.set('code that met a fault', issued.code);
  for (const table of ['artifacts', 'accounts', 'audit_events', 'client_secrets']) {
    await knex.raw('alter table ?? rename to broken', [table]);
    try {
      await person.submit(page, { login: typed, password: typed }, '/sign-in');
      await redeem(issuer, client, issued.code, issued.verifier);
      await introspect(issuer, client, issued.code);
      await userinfo(issuer, run.accessToken);
      await domains.accounts
        .create({ email: `${typed}@example.com`, password: typed })
        .catch((error: unknown) => domains.logger.error({ err: error }, 'as a caller would'));
    } finally {
      await knex.raw('alter table broken rename to ??', [table]);
    }
  }
}

/** Names of the secrets that stand in a text, and never the secrets themselves. */
function secretsIn(text: string, except: (name: string) => boolean = () => false): string[] {
  const values = [{ place: 'text', text }];
  return [...secrets]
    .filter(([name, secret]) => !except(name) && findSecret(values, secret).length > 0)
    .map(([n]) => n);
}

describe('in the log of a whole run, with every level on and nothing redacted,', () => {
  test('is no secret, neither right nor wrong, neither of a success nor of a fault', () => {
    expect(log.lines.length).toBeGreaterThan(60);
    expect(log.lines.filter(({ level }) => level === 50).length).toBeGreaterThan(5);
    expect(new Set(log.lines.map(({ endpoint }) => endpoint))).toEqual(
      expect.objectContaining(new Set(['token', 'interaction', 'authorization', 'introspection', 'revocation'])),
    );
    expect(secretsIn(log.text())).toEqual([]);
  });

  test('are the faults, with what the database said of them', () => {
    expect(log.text()).toMatch(/relation \\"artifacts\\" does not exist/);
    expect(log.text()).toMatch(/relation \\"accounts\\" does not exist/);
  });

  test('is no e-mail address: who signs in is in the audit trail', () => {
    expect(log.text()).not.toContain(run.account.login);
  });
});

test('nothing secret is printed beside the log', () => {
  expect(printed.filter((text) => secretsIn(text).length > 0)).toEqual([]);
});

describe('in what is answered', () => {
  test('is no secret in a redirect, but the code to the app and the interaction to its own browser', () => {
    const redirects = answers.filter(({ location }) => location !== '');
    expect(redirects.length).toBeGreaterThan(15);
    for (const { location } of redirects) {
      const isToTheApp = location.startsWith(REDIRECT_URI);
      const allowed = isToTheApp ? ['code', 'iss', 'state', 'error', 'error_description'] : [];
      const { pathname, searchParams } = new URL(location, server.issuer);
      if (isToTheApp) expect(allowed).toEqual(expect.arrayContaining([...searchParams.keys()]));
      const isOwnPath = /^\/(interaction|authorize|device)\/[\w-]+$/.test(pathname);
      expect(secretsIn(location, (name) => (isToTheApp ? /code/ : isOwnPath ? /uid|cookie/ : /^$/).test(name))).toEqual(
        [],
      );
    }
  });

  test('is no secret on a page, but what its forms belong to, the code of a device and the name that was typed', () => {
    const pages = answers.filter(({ contentType, location }) => location === '' && contentType.startsWith('text/html'));
    expect(pages.length).toBeGreaterThan(15);
    for (const { text } of pages) {
      expect(
        secretsIn(text, (name) =>
          /uid|tessera_interaction|tessera_resume|typed into|^user code|device form/.test(name),
        ),
      ).toEqual([]);
    }
  });

  test('is no part of a request in the JSON of a refusal', () => {
    const refusals = answers.filter(({ text }) => /^\{"error"/.test(text));
    expect(refusals.length).toBeGreaterThan(8);
    for (const { text } of refusals) expect(secretsIn(text)).toEqual([]);
  });

  test('is no token in the address of any request of ours but as the test put it there', () => {
    for (const { url } of answers) {
      expect(secretsIn(url, (name) => /code|uid|cookie|ID token|pushed request/.test(name))).toEqual([]);
    }
  });
});

test('audit rows hold no secret, not even what was typed into the wrong field', async () => {
  const stolen = await readEverything(server.domains.database.knex);
  const audited = stolen.filter(({ place }) => place.startsWith('public.audit_events'));
  expect(audited.some(({ text }) => text === 'sign_in.failed')).toBe(true);
  expect(secretsIn(audited.map(({ text }) => text).join('\n'))).toEqual([]);
});

test('no other table holds what was typed into the wrong field or sent to the wrong place', async () => {
  const stolen = await readEverything(server.domains.database.knex);
  const found = [...secrets]
    .filter(([name]) => /^misplaced/.test(name))
    .map(([name, secret]) => [name, findSecret(stolen, secret)] as const)
    .filter(([, places]) => places.length > 0);
  expect(found).toEqual([]);
});
