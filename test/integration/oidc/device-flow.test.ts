import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { digestOf } from '../../../src/tokens/artifact-row.ts';
import {
  askForCodes,
  connectDevice,
  createDeviceClient,
  DEVICE_CODE_GRANT,
  enterCode,
  letIntervalsPass,
  poll,
} from '../../harness/devices.ts';
import { makeProofKeyPair, proofOf } from '../../harness/dpop.ts';
import { createTestAccount, createTestApi, createTestClient, type TestClient } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { introspect, post, refresh, userinfo } from '../../harness/token-requests.ts';

const CONNECTED = 'Your device is connected';
const NOT_CONNECTED = 'Your device was not connected';

let server: TestServer;
let node: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  node = await startTestServer({ node: server, environment: { ISSUER: server.issuer } });
  client = await createDeviceClient(server.domains);
});
afterAll(async () => {
  await node.close();
  await server.close();
});

const heading = (html: string) => /<h1>([^<]*)<\/h1>/.exec(html)?.[1];
const alert = (html: string) => /id="error-summary-title">([^<]*)</.exec(html)?.[1];
const refusal = ({ status, body }: { status: number; body: Record<string, unknown> }) => `${status} ${body.error}`;
const passIntervals = () => letIntervalsPass(server.domains.database.pool);

/** Lets a device code be as old as if it had been asked for long ago. */
async function expire(deviceCode: string): Promise<void> {
  const { knex } = server.domains.database;
  const changed = await knex('artifacts')
    .where({ id: digestOf('DeviceCode', deviceCode) })
    .update({
      expires_at: knex.raw(`now() - interval '1 minute'`),
      payload: knex.raw(`(payload::jsonb || '{"exp": 1700000000}')::json`),
    });
  expect(changed).toBe(1);
}

async function eventsOf(clientId: string): Promise<Record<string, unknown>[]> {
  const rows = await server.domains.database.knex('audit_events').where({ client_id: clientId }).orderBy('id');
  return rows as Record<string, unknown>[];
}

describe('a device', () => {
  test('gets a code to show, where to type it in, and how often to ask', async () => {
    const codes = await askForCodes(server.issuer, client);
    expect(codes).toEqual({
      device_code: expect.stringMatching(/^[\w-]{43}$/),
      user_code: expect.stringMatching(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/),
      verification_uri: `${server.issuer}/device`,
      verification_uri_complete: `${server.issuer}/device?user_code=${codes.user_code}`,
      expires_in: 600,
      interval: 5,
    });
  });

  test('is refused codes where its client is not registered for them, not known, or asks for too much', async () => {
    const other = await createTestClient(server.domains);
    const ask = (who: { id: string; secret: string }, parameters = {}) =>
      post(`${server.issuer}/device_authorization`, who, { scope: 'openid', ...parameters });
    expect(refusal(await ask(other))).toBe('400 invalid_request');
    expect(refusal(await ask({ id: 'nobody', secret: '' }))).toBe('401 invalid_client');
    expect(refusal(await ask({ ...other, secret: 'wrong' }))).toBe('401 invalid_client');
    expect(refusal(await ask(client, { resource: 'urn:nobody' }))).toBe('400 invalid_target');
    const narrow = await createDeviceClient(server.domains, { metadata: { scope: 'openid' } });
    expect(refusal(await ask(narrow, { scope: 'openid email' }))).toBe('400 invalid_scope');
  });

  test('may not redeem a code where its client is not registered for the grant', async () => {
    const other = await createTestClient(server.domains);
    expect((await poll(server.issuer, other, 'x')).status).toBe(400);
    expect((await poll(server.issuer, other, 'x')).body.error).toMatch(/unauthorized_client|invalid_request/);
  });

  test('that brings a key gets a token bound to it, and a poll that lacks the nonce is none', async () => {
    const keys = await makeProofKeyPair();
    const codes = await askForCodes(server.issuer, client);
    const pollWith = async (nonce?: string) => {
      const response = await fetch(`${server.issuer}/token`, {
        method: 'POST',
        headers: { dpop: await proofOf(keys, { htu: `${server.issuer}/token`, nonce }) },
        body: new URLSearchParams({
          grant_type: DEVICE_CODE_GRANT,
          client_id: client.id,
          device_code: codes.device_code,
        }),
      });
      const body = (await response.json()) as Record<string, unknown>;
      return { status: response.status, body, nonce: response.headers.get('dpop-nonce') ?? undefined };
    };
    const first = await pollWith();
    expect(refusal(first)).toBe('400 use_dpop_nonce');
    expect(refusal(await pollWith(first.nonce))).toBe('400 authorization_pending');
    await connectDevice(server.issuer, new Person(), codes.user_code, await createTestAccount(server.domains));
    const { body } = await pollWith(first.nonce);
    expect(body.token_type).toBe('DPoP');
    expect((await userinfo(server.issuer, String(body.access_token))).status).toBe(401);
  });

  test('has to wait, and then gets the tokens of the person who typed its code in', async () => {
    const { account, ...credentials } = await createTestAccount(server.domains, { name: 'Ada Lovelace' });
    const codes = await askForCodes(server.issuer, client, { scope: 'openid profile offline_access' });
    expect(refusal(await poll(server.issuer, client, codes.device_code))).toBe('400 authorization_pending');
    const done = await connectDevice(server.issuer, new Person(), codes.user_code, credentials);
    expect(heading(done.html)).toBe(CONNECTED);
    const { status, body } = await poll(server.issuer, client, codes.device_code);
    expect({ status, body }).toEqual({
      status: 200,
      body: {
        access_token: expect.any(String),
        refresh_token: expect.any(String),
        id_token: expect.any(String),
        expires_in: 600,
        scope: 'openid profile offline_access',
        token_type: 'Bearer',
      },
    });
    const person = await userinfo(server.issuer, String(body.access_token));
    expect(person.body).toMatchObject({ sub: account.id, name: 'Ada Lovelace' });
    expect((await refresh(server.issuer, client, String(body.refresh_token))).status).toBe(200);
  });

  test('that authenticates gets a token for an API', async () => {
    const api = await createTestApi(server.domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
    const [scope = ''] = api.scopes.map((known) => known.scope);
    const confidential = await createDeviceClient(server.domains, {
      metadata: { token_endpoint_auth_method: 'client_secret_basic', scope: `openid ${scope}` },
    });
    const codes = await askForCodes(server.issuer, confidential, { scope, resource: api.identifier });
    const credentials = await createTestAccount(server.domains);
    await connectDevice(server.issuer, new Person(), codes.user_code, credentials);
    const { body } = await poll(server.issuer, confidential, codes.device_code);
    expect(body).toMatchObject({ scope, token_type: 'Bearer' });
    const { body: known } = await introspect(server.issuer, confidential, String(body.access_token));
    expect(known).toMatchObject({ active: true, sub: credentials.account.id, aud: api.identifier, scope });
  });

  test('is told to slow down where it asks before its interval is over, on whichever node, and not for ever', async () => {
    const { device_code } = await askForCodes(server.issuer, client);
    const ask = async (at: TestServer) => refusal(await poll(at.address, client, device_code));
    expect(await ask(server)).toBe('400 authorization_pending');
    expect(await ask(server)).toBe('400 slow_down');
    expect(await ask(node)).toBe('400 slow_down');
    await passIntervals();
    expect(await ask(node)).toBe('400 authorization_pending');
    expect(await ask(server)).toBe('400 slow_down');
  });

  test('of many polls at once, on two nodes, one is answered as made in time', async () => {
    const { device_code } = await askForCodes(server.issuer, client);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => poll([server, node][index % 2]?.address ?? '', client, device_code)),
    );
    expect(answers.map(refusal).sort()).toEqual([
      '400 authorization_pending',
      ...Array<string>(19).fill('400 slow_down'),
    ]);
  });

  test('is not slowed down by another one', async () => {
    const [one, other] = [await askForCodes(server.issuer, client), await askForCodes(server.issuer, client)];
    expect(refusal(await poll(server.issuer, client, one.device_code))).toBe('400 authorization_pending');
    expect(refusal(await poll(server.issuer, client, other.device_code))).toBe('400 authorization_pending');
  });

  test('leaves no trace where it asks about codes that there are not', async () => {
    const { knex } = server.domains.database;
    const before = await knex('sign_in_attempts').count();
    for (const code of ['x', 'y', 'z'])
      expect(refusal(await poll(server.issuer, client, code))).toBe('400 invalid_grant');
    expect(await knex('sign_in_attempts').count()).toEqual(before);
  });

  test('can’t use the code of another client', async () => {
    const { device_code } = await askForCodes(server.issuer, client);
    const other = await createDeviceClient(server.domains);
    expect(refusal(await poll(server.issuer, other, device_code))).toBe('400 invalid_grant');
  });

  test('is told that its code has expired, also half an hour later', async () => {
    const { device_code } = await askForCodes(server.issuer, client);
    await expire(device_code);
    expect(refusal(await poll(server.issuer, client, device_code))).toBe('400 expired_token');
  });

  test('is told that it was denied, wherever a person said so', async () => {
    const credentials = await createTestAccount(server.domains);
    const deniers: ((userCode: string, person: Person) => Promise<{ html: string }>)[] = [
      async (userCode, person) =>
        person.submit(await enterCode(server.issuer, person, userCode), { abort: 'yes' }, '/device'),
      async (userCode, person) => {
        const confirm = await enterCode(server.issuer, person, userCode);
        const { html } = await person.submit(confirm, { confirm: 'yes' }, '/device');
        return person.open(`${server.issuer}${/\/interaction\/[\w-]+\/cancel/.exec(html)?.[0]}`);
      },
      (userCode, person) => connectDevice(server.issuer, person, userCode, credentials, 'deny'),
    ];
    for (const deny of deniers) {
      const codes = await askForCodes(server.issuer, client);
      expect(heading((await deny(codes.user_code, new Person())).html)).toBe(NOT_CONNECTED);
      expect(refusal(await poll(server.issuer, client, codes.device_code))).toBe('400 access_denied');
      expect(refusal(await poll(server.issuer, client, codes.device_code))).toBe('400 invalid_grant');
      expect(alert((await enterCode(server.issuer, new Person(), codes.user_code)).html)).toBe(
        'That code has been used',
      );
    }
  });

  test('redeems a code once at the most, however often it asks at the same moment on two nodes', async () => {
    const credentials = await createTestAccount(server.domains);
    const person = new Person();
    let redeemed = 0;
    for (let round = 0; round < 20; round += 1) {
      const codes = await askForCodes(server.issuer, client);
      await connectDevice(server.issuer, person, codes.user_code, credentials);
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, index) =>
          poll([server, node][index % 2]?.address ?? '', client, codes.device_code),
        ),
      );
      const won = answers.filter(({ status }) => status === 200);
      // One that comes late enough to find it redeemed ends the grant, perhaps before the winner has its tokens.
      expect(won.length).toBeLessThanOrEqual(1);
      redeemed += won.length;
      expect(new Set(answers.filter((answer) => !won.includes(answer)).map(refusal))).toEqual(
        new Set(['400 invalid_grant']),
      );
    }
    expect(redeemed).toBeGreaterThan(0);
  });

  test('that redeems a code twice loses what it had, and the audit trail says so', async () => {
    const own = await createDeviceClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    const codes = await askForCodes(server.issuer, own);
    await connectDevice(server.issuer, new Person(), codes.user_code, credentials);
    const { body } = await poll(server.issuer, own, codes.device_code);
    await expire(codes.device_code);
    expect(refusal(await poll(server.issuer, own, codes.device_code))).toBe('400 invalid_grant');
    expect((await introspect(server.issuer, own, String(body.access_token))).body).toEqual({ active: false });
    expect((await eventsOf(own.id)).map(({ type }) => type)).toEqual(
      expect.arrayContaining(['code.reuse_detected', 'grant.revoked']),
    );
  });
});

describe('a person', () => {
  test('types the code in as they like: small letters, without the dash, with blanks', async () => {
    for (const write of [
      (code: string) => code.toLowerCase(),
      (code: string) => code.replace('-', ''),
      (code: string) => ` ${code.replace('-', '  ')} `,
    ]) {
      const { user_code } = await askForCodes(server.issuer, client);
      const { html } = await enterCode(server.issuer, new Person(), write(user_code));
      expect(heading(html)).toBe('Is this your device?');
      expect(html).toContain(`>${user_code}</p>`);
    }
  });

  test('sees whose device it is and where it asked from, and is warned, before anything happens', async () => {
    const { user_code } = await askForCodes(server.issuer, client);
    const { html } = await enterCode(server.issuer, new Person(), user_code);
    expect(html).toContain('Living Room TV');
    expect(html).toContain('Did someone send you this code?');
    expect(html).toMatch(/<dd>(127\.0\.0\.1|::1|::ffff:127\.0\.0\.1)<\/dd>/);
    expect(html).toContain('<dd>node</dd>');
  });

  test('who follows the address with the code in it has it filled in, and nothing is sent by itself', async () => {
    const { user_code, verification_uri_complete } = await askForCodes(server.issuer, client);
    const person = new Person();
    const page = await person.open(verification_uri_complete);
    expect(page.html).toContain(`value="${user_code}"`);
    expect(page.html).not.toMatch(/<script>|noscript/);
    const confirm = await person.submit(page, { user_code }, '/device');
    expect(heading(confirm.html)).toBe('Is this your device?');
  });

  test('is told what is wrong with a code, and keeps what they typed', async () => {
    const expired = await askForCodes(server.issuer, client);
    await expire(expired.device_code);
    const cases: [string, string, string][] = [
      ['', 'The code is missing', 'invalid_request'],
      ['BBBB-BBBB', 'There is no such code', 'invalid_request'],
      ['<script>', 'There is no such code', 'invalid_request'],
      [expired.user_code, 'That code has expired', 'expired_token'],
    ];
    for (const [userCode, words, code] of cases) {
      const { response, html } = await enterCode(server.issuer, new Person(), userCode);
      expect({ status: response.status, words: alert(html), code: errorOnPage(html) }).toEqual({
        status: 400,
        words,
        code,
      });
      if (!userCode.includes('<')) expect(html).toContain(`value="${userCode}"`);
      expect(html).not.toContain('<script>');
    }
  });

  test('who comes second with a code finds it used', async () => {
    const { user_code } = await askForCodes(server.issuer, client);
    const first = new Person();
    await first.submit(await enterCode(server.issuer, first, user_code), { confirm: 'yes' }, '/device');
    const { response, html } = await enterCode(server.issuer, new Person(), user_code);
    expect({ status: response.status, alert: alert(html) }).toEqual({ status: 400, alert: 'That code has been used' });
  });

  test('is asked again for each device, also where they allowed the same before', async () => {
    const { login, password } = await createTestAccount(server.domains);
    const person = new Person();
    for (const confidential of [
      client,
      await createDeviceClient(server.domains, { metadata: { application_type: 'web' } }),
    ]) {
      for (let round = 0; round < 2; round += 1) {
        const { user_code } = await askForCodes(server.issuer, confidential);
        const confirm = await enterCode(server.issuer, person, user_code);
        let page = await person.submit(confirm, { confirm: 'yes' }, '/device');
        if (page.html.includes('name="password"')) page = await person.submit(page, { login, password }, '/sign-in');
        expect(heading(page.html)).toBe('Allow access?');
        expect(page.html).toContain('your device learns of it by itself');
        expect(page.html).not.toContain('undefined');
        page = await person.submit(page, { decision: 'allow' }, '/consent');
        expect(heading(page.html)).toBe(CONNECTED);
      }
    }
  });

  test('who is signed in may connect a device to another account', async () => {
    const [one, other] = [await createTestAccount(server.domains), await createTestAccount(server.domains)];
    const person = new Person();
    await connectDevice(server.issuer, person, (await askForCodes(server.issuer, client)).user_code, one);
    const codes = await askForCodes(server.issuer, client);
    const confirm = await enterCode(server.issuer, person, codes.user_code);
    const consent = await person.submit(confirm, { confirm: 'yes' }, '/device');
    expect(consent.html).toContain(one.login);
    // The same form, sent to where its second button says.
    const address = /formaction="([^"]*switch-account)"/.exec(consent.html)?.[1] ?? '';
    const _csrf = /name="_csrf" value="([^"]*)"/.exec(consent.html)?.[1] ?? '';
    const signIn = await person.open(new URL(address, server.issuer).href, {
      method: 'POST',
      body: new URLSearchParams({ _csrf }),
    });
    expect(heading(signIn.html)).toBe('Sign in');
    let page = await person.submit(signIn, { login: other.login, password: other.password }, '/sign-in');
    // The library signs the first account out by a form of its own, which sends itself off where there is JavaScript.
    if (page.html.includes('/logout/confirm')) page = await person.submit(page, {}, '/logout/confirm');
    expect(page.html).toContain(other.login);
    page = await person.submit(page, { decision: 'allow' }, '/consent');
    expect(heading(page.html)).toBe(CONNECTED);
    const { body } = await poll(server.issuer, client, codes.device_code);
    expect((await userinfo(server.issuer, String(body.access_token))).body.sub).toBe(other.account.id);
  });

  test('who is signed in elsewhere keeps that session', async () => {
    const web = await createTestClient(server.domains);
    const credentials = await createTestAccount(server.domains);
    const person = new Person();
    const tokens = await signInForTokens(server.issuer, web, credentials, { person });
    const { user_code } = await askForCodes(server.issuer, client);
    const confirm = await enterCode(server.issuer, person, user_code);
    const page = await person.submit(confirm, { confirm: 'yes' }, '/device');
    expect(heading(page.html)).toBe('Allow access?');
    await person.submit(page, { decision: 'allow' }, '/consent');
    expect((await userinfo(server.issuer, tokens.access_token)).status).toBe(200);
  });

  test('sees the pages in the language of the browser', async () => {
    const { user_code } = await askForCodes(server.issuer, client);
    const { html } = await enterCode(server.issuer, new Person({ 'accept-language': 'de' }), user_code);
    expect(heading(html)).toBe('Ist das Ihr Gerät?');
  });

  test('leaves a record of what they decided, with the address of the device', async () => {
    const own = await createDeviceClient(server.domains);
    const { account, login, password } = await createTestAccount(server.domains);
    const [allowed, denied] = [await askForCodes(server.issuer, own), await askForCodes(server.issuer, own)];
    await connectDevice(server.issuer, new Person(), allowed.user_code, { login, password });
    const person = new Person();
    await person.submit(await enterCode(server.issuer, person, denied.user_code), { abort: 'yes' }, '/device');
    const events = await eventsOf(own.id);
    const allowing = events.find(({ type }) => type === 'device.allowed');
    expect(JSON.stringify(allowing)).toContain(account.id);
    expect(JSON.stringify(allowing)).toMatch(/deviceAddress|device_address/);
    expect(events.filter(({ type }) => type === 'device.denied').length).toBe(1);
  });
});

describe('a form of the device pages', () => {
  test('from another browser, or from none, is refused, and the code is still free', async () => {
    const codes = await askForCodes(server.issuer, client);
    const foreign = await enterCode(server.issuer, new Person(), codes.user_code);
    const xsrf = /name="xsrf" value="([^"]*)"/.exec(foreign.html)?.[1] ?? '';
    const victim = new Person();
    await victim.open(`${server.issuer}/device`);
    for (const fields of [{ xsrf }, { xsrf: '' }, {}]) {
      const body = new URLSearchParams({ ...fields, user_code: codes.user_code, confirm: 'yes' });
      const { response, html } = await victim.open(`${server.issuer}/device`, { method: 'POST', body });
      expect({ status: response.status, alert: alert(html), code: errorOnPage(html) }).toEqual({
        status: 400,
        alert: 'This form was out of date',
        code: 'invalid_request',
      });
    }
    expect(refusal(await poll(server.issuer, client, codes.device_code))).toBe('400 authorization_pending');
    expect(heading((await enterCode(server.issuer, new Person(), codes.user_code)).html)).toBe('Is this your device?');
  });
});

describe('a browser without cookies', () => {
  const without = (path: string, init: RequestInit = {}) =>
    fetch(`${server.issuer}${path}`, { ...init, redirect: 'manual', headers: { accept: 'text/html' } });

  test('has its code taken over into a fresh form: it left the old one open for long', async () => {
    const { user_code } = await askForCodes(server.issuer, client);
    const body = new URLSearchParams({ xsrf: 'x', user_code, confirm: 'yes' });
    const response = await without('/device', { method: 'POST', body });
    const html = await response.text();
    expect({ status: response.status, alert: alert(html) }).toEqual({
      status: 400,
      alert: 'This form was out of date',
    });
    expect(html).toMatch(/<form class="form" method="get" action="\/device"/);
    expect(html).toContain(`value="${user_code}"`);
    const person = new Person();
    const again = await person.open(`${server.issuer}/device?${new URLSearchParams({ user_code })}`);
    expect(heading((await person.submit(again, { user_code }, '/device')).html)).toBe('Is this your device?');
  });

  test('is told that a sign-in is no longer open', async () => {
    const response = await without('/device/nothing');
    expect({ status: response.status, code: errorOnPage(await response.text()) }).toEqual({
      status: 400,
      code: 'invalid_request',
    });
  });
});

test('discovery names the endpoint and the grant', async () => {
  const response = await fetch(`${server.issuer}/.well-known/openid-configuration`);
  const document = (await response.json()) as Record<string, unknown>;
  expect(document.device_authorization_endpoint).toBe(`${server.issuer}/device_authorization`);
  expect(document.grant_types_supported).toContain(DEVICE_CODE_GRANT);
});
