import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createServiceClient, type TestClient } from '../../harness/factories.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import {
  createLandscape,
  exchange,
  exchanged,
  type Landscape,
  signInToApp,
  TOKEN_EXCHANGE,
} from '../../harness/token-exchange.ts';
import { introspect, isActive, revoke, serviceToken } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

/** What ends, ends on the first node; tokens are asked for on both. */
let first: TestServer;
let second: TestServer;
beforeAll(async () => {
  first = await startTestServer();
  second = await startTestServer({ node: first, environment: { ISSUER: first.issuer } });
});
afterAll(async () => {
  await second.close();
  await first.close();
});

type Format = 'jwt' | 'opaque';
const FORMATS: readonly (readonly [Format, Format])[] = [
  ['opaque', 'opaque'],
  ['opaque', 'jwt'],
  ['jwt', 'opaque'],
  ['jwt', 'jwt'],
];

/** Tokens that came of `token`, straight and by way of another, in the format of the inner API. */
async function derive(on: Landscape, token: string): Promise<string[]> {
  const resource = on.inner.identifier;
  const straight = await exchanged(first.address, on.gateway, token, { resource });
  const again = await exchanged(first.address, on.gateway, straight, { resource });
  const byBackend = await exchanged(first.address, on.backend, straight, { resource });
  return [straight, again, byBackend];
}

async function liveAt(node: TestServer, caller: TestClient, tokens: readonly string[]): Promise<boolean[]> {
  return Promise.all(tokens.map(async (token) => (await isActive(node.address, caller, token)) === true));
}

async function expectAlive(on: Landscape, tokens: readonly string[]): Promise<void> {
  for (const node of [first, second]) {
    await until('the node knows the clients', async () => {
      const { body } = await introspect(node.address, on.backend, tokens[0]);
      return body.active;
    });
    expect(await liveAt(node, on.backend, tokens)).toEqual(tokens.map(() => true));
  }
}

async function expectDead(on: Landscape, tokens: readonly string[]): Promise<void> {
  for (const node of [first, second]) {
    const limit = node === first ? 0 : SEEN_WITHIN_MS;
    await until('all is dead', async () => (await liveAt(node, on.backend, tokens)).every((isLive) => !isLive), limit);
    // Nor is anything made of them any more.
    for (const token of tokens) {
      const { body } = await exchange(node.address, on.backend, token, { resource: on.inner.identifier });
      expect(body).toEqual({ error: 'invalid_request', error_description: 'subject_token is invalid' });
    }
  }
}

describe.each(FORMATS)("what came of a person's %s token, in format %s, ends on every node", (outer, inner) => {
  async function begin() {
    const on = await createLandscape(first.domains, { outer, inner });
    const person = await signInToApp(first.address, first.domains, on);
    const derived = await derive(on, person.token);
    await expectAlive(on, derived);
    return { on, ...person, derived };
  }

  test('with the token', async () => {
    const { on, token, derived } = await begin();
    expect((await revoke(first.address, on.app, token)).status).toBe(200);
    await expectDead(on, derived);
  });

  test('with its grant', async () => {
    const { on, token, derived } = await begin();
    const artifacts = first.domains.artifacts;
    const grantId = outer === 'jwt' ? decodeJwt(token).grant_id : (await artifacts.find('AccessToken', token))?.grantId;
    await first.domains.endAccess({ grantId: String(grantId) });
    await expectDead(on, derived);
  });

  test('with all of the account', async () => {
    const { on, account, derived } = await begin();
    await first.domains.endAccess({ accountId: account.id });
    await expectDead(on, derived);
  });

  test('while the account is disabled', async () => {
    const { on, account, derived } = await begin();
    await first.domains.accounts.disable(account.id);
    await expectDead(on, derived);
  });

  test('with all of the app that the person used', async () => {
    const { on, derived } = await begin();
    await first.domains.endAccess({ clientId: on.app.id });
    await expectDead(on, derived);
  });

  test('with the app itself', async () => {
    const { on, derived } = await begin();
    await first.domains.clients.delete(on.app.id);
    await expectDead(on, derived);
  });

  test('with the service that exchanged it first, by everything that the others came from', async () => {
    const { on, derived } = await begin();
    await first.domains.endAccess({ clientId: on.gateway.id });
    await expectDead(on, derived);
  });

  test('alone, by the client that it belongs to, and with what came of it', async () => {
    const { on, token, derived } = await begin();
    const [straight = '', again = '', byBackend = ''] = derived;
    const resource = on.inner.identifier;
    const beside = await exchanged(first.address, on.gateway, token, { resource });
    expect((await revoke(first.address, on.backend, straight)).status).toBe(400);
    expect((await revoke(first.address, on.gateway, straight)).status).toBe(200);
    await expectDead(on, [straight, again, byBackend]);
    await expectAlive(on, [beside]);
    for (const node of [first, second]) expect(await isActive(node.address, on.app, token)).toBe(true);
  });
});

describe.each(FORMATS)("what came of a service's %s token, in format %s, ends on every node", (outer, inner) => {
  async function begin() {
    const on = await createLandscape(first.domains, { outer, inner });
    const service = await createServiceClient(first.domains, on.read);
    const token = await serviceToken(first.address, service, { resource: on.outer.identifier });
    const derived = await derive(on, token);
    await expectAlive(on, derived);
    return { on, service, token, derived };
  }

  test('with the token', async () => {
    const { on, service, token, derived } = await begin();
    expect((await revoke(first.address, service, token)).status).toBe(200);
    await expectDead(on, derived);
  });

  test('with all of the service', async () => {
    const { on, service, derived } = await begin();
    await first.domains.endAccess({ clientId: service.id });
    await expectDead(on, derived);
  });

  test('with the service itself, and does not live again for one that gets its id', async () => {
    const { on, service, derived } = await begin();
    await first.domains.clients.delete(service.id);
    await expectDead(on, derived);
    await first.domains.endAccess({ clientId: service.id });
    await createServiceClient(first.domains, on.read, { metadata: { client_id: service.id } });
    await expectDead(on, derived);
  });
});

test('what came of a token that ends with its session ends with the sign-out', async () => {
  const on = await createLandscape(first.domains, { outer: 'opaque', inner: 'jwt' });
  const { account, token } = await signInToApp(first.address, first.domains, on);
  const derived = await derive(on, token);
  await expectAlive(on, derived);
  const stored = await first.domains.artifacts.find('AccessToken', token);
  expect(stored).toMatchObject({ expiresWithSession: true, accountId: account.id });
  const { knex } = first.domains.database;
  // The session alone, for its grants would do by themselves.
  await knex('artifacts').where({ kind: 'Session', account_id: account.id }).update({ destroyed_at: new Date() });
  await until(
    'the session is forgotten',
    async () => (await liveAt(first, on.backend, derived)).every((it) => !it),
    1_500,
  );
  await expectDead(on, derived);
});

test.each(FORMATS)(
  'an operator ends one by its value, and nothing else (with a token of format %s for one of format %s)',
  async (outer, inner) => {
    const on = await createLandscape(first.domains, { outer, inner });
    const { account, token } = await signInToApp(first.address, first.domains, on);
    const resource = on.inner.identifier;
    const [one, other] = [
      await exchanged(first.address, on.gateway, token, { resource }),
      await exchanged(first.address, on.gateway, token, { resource }),
    ];
    await expectAlive(on, [one, other]);
    expect(await first.domains.endToken(one)).toBe(1);
    await expectDead(on, [one]);
    await expectAlive(on, [other]);
    // Also where it is dead already by what it came from, and could live again.
    await first.domains.accounts.disable(account.id);
    expect(await first.domains.endToken(other)).toBe(1);
    await first.domains.accounts.enable(account.id);
    await expectDead(on, [other]);
  },
);

test('what a person did in the name of another ends when that person is signed out', async () => {
  const on = await createLandscape(first.domains, { outer: 'jwt', inner: 'jwt' });
  const { token } = await signInToApp(first.address, first.domains, on);
  const support = await createLandscape(first.domains, { outer: 'opaque', inner: 'opaque' });
  await first.domains.clients.update(support.app.id, {
    metadata: {
      grant_types: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE],
      scope: `openid ${support.read} ${support.write} ${on.read}`,
    },
    mayIntrospectAny: true,
  });
  const agent = await signInToApp(first.address, first.domains, support);
  const derived = await exchanged(first.address, support.app, token, {
    resource: on.inner.identifier,
    actor_token: agent.token,
    actor_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  });
  await expectAlive(on, [derived]);
  await first.domains.endAccess({ accountId: agent.account.id });
  await expectDead(on, [derived]);
});

describe('a revocation in the middle of an exchange', () => {
  /** Many exchanges at once, on both nodes, while `end` runs. @returns what they gave */
  async function exchangeWhile(on: Landscape, token: string, end: () => Promise<unknown>): Promise<string[]> {
    const resource = on.inner.identifier;
    const work = Array.from({ length: 12 }, (_, index) => async () => {
      const node = index % 2 === 0 ? first : second;
      const { status, body } = await exchange(node.address, on.gateway, token, { resource });
      if (status === 200) return [String(body.access_token)];
      expect(body).toEqual({ error: 'invalid_request', error_description: 'subject_token is invalid' });
      return [];
    });
    const [before, after] = [work.slice(0, 6), work.slice(6)];
    const begun = before.map((run) => run());
    const ending = end();
    const tokens = await Promise.all([...begun, ...after.map((run) => run())]);
    await ending;
    return tokens.flat();
  }

  test.each(FORMATS)('leaves nothing alive of a %s token in format %s', async (outer, inner) => {
    for (let round = 0; round < 3; round += 1) {
      const on = await createLandscape(first.domains, { outer, inner });
      const person = await signInToApp(first.address, first.domains, on);
      const service = await createServiceClient(first.domains, on.read);
      const ofService = await serviceToken(first.address, service, { resource: on.outer.identifier });
      await expectAlive(on, await derive(on, ofService));
      const endings: [string, () => Promise<unknown>][] = [
        [person.token, () => revoke(first.address, on.app, person.token)],
        [ofService, () => first.domains.endAccess({ clientId: service.id })],
      ];
      for (const [token, end] of endings) {
        const tokens = await exchangeWhile(on, token, end);
        if (tokens.length > 0) await expectDead(on, tokens);
      }
    }
  });
});

test('a person who signs in again has new tokens, and those from before stay dead', async () => {
  const on = await createLandscape(first.domains, { outer: 'jwt', inner: 'jwt' });
  const before = await signInToApp(first.address, first.domains, on);
  const derived = await derive(on, before.token);
  await first.domains.endAccess({ accountId: before.account.id });
  const again = await signInToApp(first.address, first.domains, on, on.read, before);
  await expectAlive(on, await derive(on, again.token));
  await expectDead(on, derived);
});
