import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { askForCodes, DEVICE_CODE_GRANT } from '../harness/devices.ts';
import { createTestAccount, createTestApi, createTestClient, type TestClient } from '../harness/factories.ts';
import { authorizationRequest, codeFor, pkce } from '../harness/flows.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { ENDPOINTS, type EndpointPath } from './endpoints.ts';
import { basic, FORM, formBody, type RawAnswer, rawRequest } from './raw-http.ts';

const RUNS = 200;
const PARALLEL = 4;
/** Always the same paths, and a new one in every run: what it found is repeated with FUZZ_SEED. */
const FRESH_SEED =
  process.env.FUZZ_SEED === undefined ? Math.trunc(Date.now() % 2 ** 31) : Number(process.env.FUZZ_SEED);
const SEEDS = [20_261_124, FRESH_SEED];

let server: TestServer;
let client: TestClient;
let resource: string;
let cookie: string;
/** What is alive, so that half of the requests get past the first look. */
let alive: Record<string, string>;

beforeAll(async () => {
  server = await startTestServer({ environment: { REGISTRATION: 'open', REGISTRATIONS_PER_ADDRESS: '100000' } });
  const { domains } = server;
  const api = await createTestApi(domains, { tokenFormat: 'jwt' });
  resource = api.identifier;
  const scopes = api.scopes.map(({ scope }) => scope).join(' ');
  client = await createTestClient(domains, {
    metadata: {
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials', DEVICE_CODE_GRANT],
      scope: `openid profile email offline_access ${scopes}`,
    },
  });
});
afterAll(() => server.close());

/** Afresh for each endpoint: fuzzing revokes what it finds. */
beforeEach(async () => {
  const { domains, issuer } = server;
  const person = new Person();
  const credentials = await createTestAccount(domains);
  const parameters = { scope: 'openid offline_access', prompt: 'consent' };
  const { code, verifier } = await codeFor(issuer, client, credentials, { person, parameters });
  const answer = await rawRequest(server.address, {
    method: 'POST',
    path: '/token',
    headers: { ...FORM, authorization: basic(client) },
    body: formBody([
      ['grant_type', 'authorization_code'],
      ['code', code],
      ['redirect_uri', 'https://app.example.com/callback'],
      ['code_verifier', verifier],
    ]),
  });
  const tokens = JSON.parse(answer.text) as Record<string, string>;
  alive = Object.fromEntries(['access_token', 'refresh_token', 'id_token'].map((name) => [name, tokens[name] ?? '']));
  const { device_code, user_code } = await askForCodes(issuer, client);
  // The form of the device pages hangs on a session.
  await person.open(`${issuer}/device`);
  Object.assign(alive, { device_code, user_code });
  cookie = Object.entries(person.cookies())
    .map(([name, value]) => `${name}=${value}`)
    .join('; ');
});

/** Values that mean something at some endpoint, so that fuzzing goes deeper than the first refusal. */
function knownValues(name: string): string[] {
  const { challenge, verifier } = pkce();
  const values: Record<string, string[]> = {
    client_id: [client.id],
    client_secret: [client.secret],
    response_type: ['code', 'code id_token', 'none'],
    response_mode: ['query', 'fragment', 'form_post', 'jwt', 'web_message'],
    redirect_uri: ['https://app.example.com/callback'],
    scope: ['openid', 'openid profile offline_access', client.client.metadata.scope ?? ''],
    code_challenge: [challenge],
    code_challenge_method: ['S256', 'plain'],
    code_verifier: [verifier],
    prompt: ['none', 'login', 'consent', 'login consent', 'select_account'],
    max_age: ['0', '1', '99999999999'],
    claims: [
      '{}',
      '{"userinfo":{"email":null}}',
      '{"id_token":{"acr":{"essential":true,"values":["x"]}}}',
      '[]',
      'null',
    ],
    id_token_hint: [alive.id_token ?? ''],
    resource: [resource, 'urn:unknown', 'https://a.example/#x'],
    grant_type: [
      'authorization_code',
      'refresh_token',
      'client_credentials',
      DEVICE_CODE_GRANT,
      'implicit',
      'password',
    ],
    device_code: [alive.device_code ?? ''],
    user_code: [alive.user_code ?? ''],
    xsrf: [CURRENT],
    confirm: ['yes'],
    abort: ['yes'],
    refresh_token: [alive.refresh_token ?? ''],
    token: Object.values(alive),
    access_token: Object.values(alive),
    token_type_hint: ['access_token', 'refresh_token', 'pat'],
    client_assertion_type: ['urn:ietf:params:oauth:client-assertion-type:jwt-bearer'],
    client_assertion: [alive.id_token ?? '', 'a.b.c'],
    ui_locales: ['de', 'en-GB fr', 'x-klingon'],
    logout: ['yes'],
  };
  return values[name] ?? [];
}

const anyText = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({
    unit: fc.constantFrom('\u0000', '%', '=', '&', '+', '"', '<', '\r', '\n', '\ud800', '.', '/', '\\', ' '),
    maxLength: 12,
  }),
  fc.json({ maxDepth: 2 }),
  fc.webUrl(),
  fc.double().map(String),
  fc.constantFrom('__proto__', 'constructor', 'null', 'undefined', '[object Object]', 'a'.repeat(2_000)),
);

/** What a client may put into a parameter: rubbish as well as what is right there. */
function valueFor(name: string): fc.Arbitrary<string> {
  const known = knownValues(name);
  return known.length === 0 ? anyText : fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...known) }, anyText);
}

const headerText = fc.oneof(
  fc.string({ maxLength: 40 }).map((text) => text.replace(/[^\x20-\x7e]/g, '')),
  fc.constantFrom(
    'text/html',
    'application/json',
    '*/*',
    'text/html;q=0, */*;q=0.1',
    'Bearer x',
    'Basic x',
    'null',
    'de-CH',
  ),
);
const headers = fc.dictionary(
  fc.constantFrom(
    'accept',
    'accept-language',
    'authorization',
    'cookie',
    'dpop',
    'origin',
    'referer',
    'user-agent',
    'x-forwarded-for',
    'x-request-id',
    'if-none-match',
    'range',
    'oauth-client-attestation',
  ),
  headerText,
  { maxKeys: 3 },
);

function requestTo(path: EndpointPath) {
  const { methods, parameters } = ENDPOINTS[path];
  const names = parameters as readonly string[];
  const pair = fc.oneof(
    ...names.map((name) => fc.tuple(fc.constant(name), valueFor(name))),
    fc.tuple(fc.string({ maxLength: 12 }), anyText),
  );
  return fc.record({
    method: fc.constantFrom<string>(...methods),
    pairs: fc.oneof(
      // As a client would send it, with something changed.
      fc.tuple(fc.constant(rightRequest(path)), fc.array(pair, { maxLength: 4 })).map(merge),
      fc.array(pair, { maxLength: 8 }),
    ),
    headers,
    isAuthenticated: fc.boolean(),
    isSignedIn: fc.boolean(),
    isRaw: fc.integer({ min: 0, max: 9 }).map((dice) => dice === 0),
  });
}

type Pair = [string, string];

/** Stands for the secret of the device form that this browser was shown last: each page has another one. */
const CURRENT = 'current';

async function currentSecret(): Promise<string> {
  const { text } = await rawRequest(server.address, { path: '/device', headers: { cookie } });
  return /name="xsrf" value="([^"]*)"/.exec(text)?.[1] ?? '';
}

/** What is changed goes before what is right, and now and then stands beside it. */
function merge([right, changed]: [Pair[], Pair[]]): Pair[] {
  const names = new Set(changed.map(([name]) => name));
  return [...right.filter(([name]) => !names.has(name)), ...changed];
}

function rightRequest(path: EndpointPath): Pair[] {
  switch (path) {
    case '/authorize':
      return [...new URL(authorizationRequest(server.issuer, client.id).url).searchParams];
    case '/token':
      return [['grant_type', 'client_credentials']];
    case '/introspect':
      return [['token', alive.access_token ?? '']];
    case '/device_authorization':
      return [['scope', 'openid']];
    case '/device':
      return [
        ['xsrf', CURRENT],
        ['user_code', alive.user_code ?? ''],
      ];
    default:
      return [];
  }
}

/** The outcomes that were seen at each endpoint. */
const reached = new Map<string, Set<string>>();

function noteOutcome(path: string, { status, headers: answered, text }: RawAnswer): void {
  const seen = reached.get(path) ?? new Set<string>();
  reached.set(path, seen.add(String(status)));
  for (const mark of ['access_token', '"active":true', '"sub"', 'user_code', 'class="user-code"'])
    if (text.includes(mark)) seen.add(`${status} ${mark}`);
  if (/[?&]code=/.test(String(answered.location))) seen.add(`${status} code`);
}

type Fuzzed = {
  method: string;
  pairs: Pair[];
  headers: Record<string, string>;
  isAuthenticated: boolean;
  isSignedIn: boolean;
  isRaw: boolean;
};

async function send(path: string, fuzzed: Fuzzed): Promise<RawAnswer> {
  const { method, isAuthenticated, isSignedIn, isRaw } = fuzzed;
  const own: Record<string, string> = { ...fuzzed.headers };
  if (isAuthenticated) own.authorization = path === '/userinfo' ? `Bearer ${alive.access_token}` : basic(client);
  if (isSignedIn) own.cookie = cookie;
  const encode = (text: string) =>
    isRaw ? text.replace(/[^\x21-\x7e]|#/g, '%') : encodeURIComponent(text.toWellFormed());
  const secret = path === '/device' ? await currentSecret() : '';
  const pairs = fuzzed.pairs.map(([name, value]) => [name, value === CURRENT ? secret : value] as const);
  const form = pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&');
  return method === 'GET'
    ? rawRequest(server.address, { path: `${path}?${form}`, headers: own })
    : rawRequest(server.address, { method, path, headers: { ...FORM, ...own }, body: form });
}

/** Never a fault; a refusal is JSON with a code, or a page with one; a redirect goes where the client registered. */
function expectWellFormed({ status, headers: answered, text }: RawAnswer): void {
  expect(status).toBeLessThan(500);
  const type = String(answered['content-type'] ?? '');
  if (status === 304) {
    expect(text).toBe('');
  } else if (status >= 300 && status < 400) {
    const { origin, pathname } = new URL(String(answered.location), server.issuer);
    expect([server.issuer, 'https://app.example.com']).toContain(origin);
    expect(pathname).toMatch(
      /^\/(callback|interaction\/[\w-]+|authorize(\/[\w-]+)?|device(\/[\w-]+)?|logout(\/[\w/-]*)?)$/,
    );
  } else if (type.startsWith('application/json') || type.startsWith('application/jwk-set+json')) {
    const body = JSON.parse(text) as Record<string, unknown>;
    if (status >= 400) expect(body.error).toMatch(/^[a-z_]+$/);
  } else if (type.startsWith('text/html')) {
    expect(text).toMatch(/^<!doctype html>/i);
    // Answers by form_post (OAuth 2.0 Form Post Response Mode) carry the error to the app in a form of the library.
    const isForTheApp = text.includes('<form method="post" action="https://app.example.com/callback">');
    if (status >= 400 && !isForTheApp) expect(errorOnPage(text)).toMatch(/^[a-z_]+$/);
  } else {
    // The answers without a body: a revocation (RFC 7009, section 2.2).
    expect({ status, text }).toEqual({ status: 200, text: '' });
  }
}

describe.each(SEEDS)('whatever is sent, with the seed %d,', (seed) => {
  test.each(Object.keys(ENDPOINTS) as EndpointPath[])('%s answers in its own words', async (path) => {
    // Fixed points take fewer: they have nothing to read.
    // A code, its session and its form are rarely all right at once.
    const usual = path === '/device' ? RUNS : RUNS / PARALLEL;
    const numRuns = ENDPOINTS[path].parameters.length === 0 ? 20 : usual;
    const batch = fc.array(requestTo(path), { minLength: PARALLEL, maxLength: PARALLEL });
    await fc.assert(
      fc.asyncProperty(batch, async (requests) => {
        const answers = await Promise.all(requests.map((request) => send(path, request)));
        for (const answer of answers) noteOutcome(path, answer);
        for (const answer of answers) expectWellFormed(answer);
      }),
      { seed, numRuns, endOnFailure: false, interruptAfterTimeLimit: 10_000, markInterruptAsFailure: false },
    );
  });
});

test('fuzzing went deep: much of what was sent was right', () => {
  const deepest = {
    '/authorize': '303 code',
    '/token': '200 access_token',
    '/introspect': '200 "active":true',
    '/revoke': '200',
    '/userinfo': '200 "sub"',
    '/logout': '200',
    '/device_authorization': '200 user_code',
    '/device': '200 class="user-code"',
  };
  for (const [path, outcome] of Object.entries(deepest)) expect([...(reached.get(path) ?? [])]).toContain(outcome);
});
