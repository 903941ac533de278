import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { DROPS_CHANNEL } from '../../../src/tokens/artifact-endings-store.ts';
import { createServiceClient, createTestAccount, createTestApi, createTestClient } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { type Client, isActive, refresh, revoke, serviceToken, userinfo } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

/** What ends on the first is looked for on those that hold it: one that hears of it, and one to which no message comes. */
let first: TestServer;
let hearing: TestServer;
let deaf: TestServer;
beforeAll(async () => {
  first = await startTestServer();
  hearing = await startTestServer({ node: first, environment: { ISSUER: first.issuer } });
  deaf = await startTestServer({ node: first, environment: { ISSUER: first.issuer } });
  // In the place of the token store.
  deaf.domains.changes.hear(DROPS_CHANNEL, () => undefined);
});
afterAll(async () => {
  for (const server of [deaf, hearing, first]) await server.close();
});

const RUNS = 3;
/** One after the other: a message comes in a few milliseconds, and a busy machine answers as slowly as it brings it. */
const SOON_REQUESTS = 500;

type Held = { client: Client; token: string; refreshToken: string | undefined; accountId: string; person: Person };

async function personsToken(scope = 'openid'): Promise<Held> {
  const client = await createTestClient(first.domains);
  const account = await createTestAccount(first.domains);
  const person = new Person();
  const tokens = await signInForTokens(first.address, client, account, {
    person,
    parameters: scope.includes('offline_access') ? { scope, prompt: 'consent' } : { scope },
  });
  const { access_token: token, refresh_token: refreshToken } = tokens;
  return { client, token, refreshToken, accountId: account.account.id, person };
}

async function grantIdOf({ token }: Held): Promise<string> {
  const payload = await first.domains.artifacts.find('AccessToken', token);
  return String(payload?.grantId);
}

async function signOut({ person }: Held): Promise<void> {
  const page = await person.open(`${first.address}/logout`);
  await person.submit(page, { logout: 'yes' }, '/logout/confirm');
}

const ends: [what: string, end: (held: Held) => Promise<unknown>][] = [
  ['the token is revoked', ({ client, token }) => revoke(first.address, client, token)],
  ['its grant is ended', async (held) => first.domains.endAccess({ grantId: await grantIdOf(held) })],
  ['everything of the account is ended', ({ accountId }) => first.domains.endAccess({ accountId })],
  ['everything of the client is ended', ({ client }) => first.domains.endAccess({ clientId: client.id })],
  ['the person signs out', signOut],
];

async function untilHeld(node: TestServer, { client, token }: Held): Promise<void> {
  await until('the token is held', async () => {
    const { hits } = node.domains.artifacts.counts().cache;
    expect(await isActive(node.address, client, token)).toBe(true);
    return node.domains.artifacts.counts().cache.hits > hits;
  });
}

describe.each(ends)('when %s on one node', (_, end) => {
  test('a node that holds the token hears of it, and holds it no longer, however young it is', async () => {
    for (let run = 0; run < RUNS; run += 1) {
      const held = await personsToken();
      await untilHeld(hearing, held);
      // Nothing that is held grows older: whatever leaves was dropped.
      const stopped = jest.spyOn(performance, 'now').mockReturnValue(performance.now());
      try {
        await end(held);
        let asked = 0;
        while (await isActive(hearing.address, held.client, held.token)) {
          asked += 1;
          expect(asked).toBeLessThan(SOON_REQUESTS);
        }
      } finally {
        stopped.mockRestore();
      }
    }
  });

  test('a node that no message reaches follows within a second', async () => {
    const held = await personsToken();
    await untilHeld(deaf, held);
    await end(held);
    await until('it is inactive', async () => !(await isActive(deaf.address, held.client, held.token)), SEEN_WITHIN_MS);
  });
});

test('a token of a client itself that is revoked is inactive on a node that holds it', async () => {
  const api = await createTestApi(first.domains);
  const client = await createServiceClient(first.domains, api.scopes[0]?.scope ?? '');
  const token = await serviceToken(first.address, client);
  for (let asked = 0; asked < 3; asked += 1) expect(await isActive(hearing.address, client, token)).toBe(true);
  await revoke(first.address, client, token);
  const revoked = performance.now();
  await until('it is inactive', async () => !(await isActive(hearing.address, client, token)));
  expect(performance.now() - revoked).toBeLessThan(SEEN_WITHIN_MS);
});

test('a refresh looks at nothing that is held: with a grant that has ended it is refused at once', async () => {
  for (let run = 0; run < 5; run += 1) {
    const held = await personsToken('openid offline_access');
    for (let asked = 0; asked < 3; asked += 1) expect(await isActive(deaf.address, held.client, held.token)).toBe(true);
    await first.domains.artifacts.destroy('Grant', await grantIdOf(held));
    const { status, body } = await refresh(deaf.address, held.client, held.refreshToken);
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_grant' });
  }
});

test('userinfo follows as introspection does', async () => {
  const held = await personsToken();
  for (let asked = 0; asked < 3; asked += 1) expect((await userinfo(deaf.address, held.token)).status).toBe(200);
  await signOut(held);
  const signedOut = performance.now();
  await until('the token is refused', async () => (await userinfo(deaf.address, held.token)).status === 401);
  expect(performance.now() - signedOut).toBeLessThan(SEEN_WITHIN_MS);
});
