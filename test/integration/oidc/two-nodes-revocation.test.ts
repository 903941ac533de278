import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import type { Account } from '../../../src/accounts/index.ts';
import {
  createTestAccount,
  createTestApi,
  createTestClient,
  PASSWORD,
  type TestClient,
} from '../../harness/factories.ts';
import { authorizationRequest, signInForTokens } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, refresh, revoke, serviceToken, userinfo } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

const ROUNDS = 3;

/** Access is ended on the first node, as the command line does it there; tokens come from both, and are asked for on both. */
let first: TestServer;
let second: TestServer;
let scope: string;
let resource: string;
beforeAll(async () => {
  first = await startTestServer();
  second = await startTestServer({ node: first, environment: { ISSUER: first.issuer } });
  const api = await createTestApi(first.domains, { tokenFormat: 'jwt' });
  scope = api.scopes[0] === undefined ? '' : api.scopes[0].scope;
  resource = api.identifier;
  await until('the second node knows the API', () => second.domains.apis.all().length > 0);
});
afterAll(async () => {
  await second.close();
  await first.close();
});

type Round = {
  client: TestClient;
  account: Account;
  browser: Person;
  grantId: string;
  /** By what they are: an opaque token, JWTs of both nodes, a refresh token; and the client's own JWTs of both. */
  ofPerson: Record<string, string>;
  ofClient: Record<string, string>;
};

function registerClient(): Promise<TestClient> {
  return createTestClient(first.domains, {
    metadata: {
      scope: `openid offline_access ${scope}`,
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    },
  });
}

async function signIn(client: TestClient, login: string, browser: Person) {
  const parameters = { scope: `openid offline_access ${scope}`, resource, prompt: 'consent' };
  const tokens = await signInForTokens(
    first.address,
    client,
    { login, password: PASSWORD },
    {
      parameters,
      person: browser,
    },
  );
  const jwt = async (node: TestServer) =>
    String((await refresh(node.address, client, tokens.refresh_token, { resource })).body.access_token);
  return {
    opaque: tokens.access_token,
    jwt: await jwt(first),
    jwtOfSecond: await jwt(second),
    refreshToken: tokens.refresh_token ?? '',
  };
}

async function begin(): Promise<Round> {
  const client = await registerClient();
  const { account, login } = await createTestAccount(first.domains);
  const browser = new Person();
  const ofPerson = await signIn(client, login, browser);
  return {
    client,
    account,
    browser,
    grantId: String(decodeJwt(ofPerson.jwt).grant_id),
    ofPerson,
    ofClient: {
      jwt: await serviceToken(first.address, client, { scope }),
      jwtOfSecond: await serviceToken(second.address, client, { scope }),
    },
  };
}

/** What of it a node takes for alive. */
async function aliveAt(node: TestServer, client: TestClient, tokens: Record<string, string>): Promise<string[]> {
  const answers = await Promise.all(
    Object.entries(tokens).map(async ([name, token]) => ((await isActive(node.address, client, token)) ? [name] : [])),
  );
  return answers.flat();
}

async function isSignedIn(node: TestServer, { client, browser }: Round): Promise<boolean> {
  const { url } = authorizationRequest(node.address, client.id, { prompt: 'none' });
  const location = (await browser.request(url)).headers.get('location') ?? '';
  const error = new URL(location).searchParams.get('error');
  if (error !== null && error !== 'login_required' && error !== 'consent_required') throw new Error(error);
  return error !== 'login_required';
}

async function expectDeadAtBoth(client: TestClient, tokens: Record<string, string>): Promise<void> {
  for (const node of [first, second]) {
    const limit = node === first ? 0 : SEEN_WITHIN_MS;
    await until('all is dead', async () => (await aliveAt(node, client, tokens)).length === 0, limit);
  }
}

describe.each(Array.from({ length: ROUNDS }, (_, index) => index + 1))(
  'round %i: both nodes agree within a second',
  () => {
    test('that all of a grant has ended, and nothing else', async () => {
      const round = await begin();
      await first.domains.endAccess({ grantId: round.grantId });
      await expectDeadAtBoth(round.client, round.ofPerson);
      expect((await userinfo(second.address, round.ofPerson.opaque ?? '')).status).toBe(401);
      expect((await refresh(second.address, round.client, round.ofPerson.refreshToken)).body.error).toBe(
        'invalid_grant',
      );
      expect(await aliveAt(second, round.client, round.ofClient)).toEqual(Object.keys(round.ofClient));
      expect(await isSignedIn(second, round)).toBe(true);
    });

    test('that all of an account has ended, its sessions too, and that it may begin anew', async () => {
      const round = await begin();
      await first.domains.endAccess({ accountId: round.account.id });
      await expectDeadAtBoth(round.client, round.ofPerson);
      expect((await refresh(second.address, round.client, round.ofPerson.refreshToken)).body.error).toBe(
        'invalid_grant',
      );
      expect(await isSignedIn(second, round)).toBe(false);
      expect(await aliveAt(second, round.client, round.ofClient)).toEqual(Object.keys(round.ofClient));
      const anew = await signIn(round.client, round.account.email, new Person());
      for (const node of [first, second]) expect(await aliveAt(node, round.client, anew)).toEqual(Object.keys(anew));
    });

    test('that all of a client has ended, and that it may begin anew', async () => {
      const round = await begin();
      await first.domains.endAccess({ clientId: round.client.id });
      const anew = { jwt: await serviceToken(first.address, round.client, { scope }) };
      await expectDeadAtBoth(round.client, { ...round.ofPerson, ofClient: round.ofClient.jwt ?? '' });
      await expectDeadAtBoth(round.client, round.ofClient);
      expect((await refresh(second.address, round.client, round.ofPerson.refreshToken)).body.error).toBe(
        'invalid_grant',
      );
      const ofSecond = { jwt: await serviceToken(second.address, round.client, { scope }) };
      for (const node of [first, second]) {
        for (const tokens of [anew, ofSecond]) expect(await aliveAt(node, round.client, tokens)).toEqual(['jwt']);
      }
      expect(await isSignedIn(second, round)).toBe(true);
    });

    test('that one JWT was revoked by its client', async () => {
      const { client, ofClient } = await begin();
      expect((await revoke(first.address, client, ofClient.jwtOfSecond ?? '')).status).toBe(200);
      await expectDeadAtBoth(client, { jwtOfSecond: ofClient.jwtOfSecond ?? '' });
      expect(await aliveAt(second, client, ofClient)).toEqual(['jwt']);
    });
  },
);

test('a token is dead whose request was under way when all of its client ended', async () => {
  const { client } = await begin();
  const body = `grant_type=client_credentials&scope=${encodeURIComponent(scope)}`;
  const asked = request(`${first.address}/token`, {
    method: 'POST',
    auth: `${client.id}:${client.secret}`,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(body.length),
      // The answer to this tells that the request has reached the server.
      expect: '100-continue',
    },
  });
  asked.flushHeaders();
  await once(asked, 'continue');
  asked.write(body.slice(0, 10));
  await first.domains.endAccess({ clientId: client.id });
  asked.end(body.slice(10));
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  const { access_token } = (await json(answer)) as { access_token: string };
  await expectDeadAtBoth(client, { jwt: access_token });
  expect(await isActive(first.address, client, await serviceToken(first.address, client, { scope }))).toBe(true);
});

test('a client that is deleted leaves nothing alive to the one that gets its id', async () => {
  const { client, ofClient, ofPerson } = await begin();
  await first.domains.clients.delete(client.id);
  await first.domains.endAccess({ clientId: client.id });
  const heir = await createTestClient(first.domains, {
    metadata: { ...client.client.metadata, client_id: client.id },
  });
  await until('the second node knows the new client', async () => {
    try {
      return await serviceToken(second.address, heir, { scope });
    } catch {
      return undefined;
    }
  });
  for (const node of [first, second]) {
    expect(await aliveAt(node, heir, ofClient)).toEqual([]);
    expect(await aliveAt(node, heir, ofPerson)).toEqual([]);
    expect(await isActive(node.address, heir, await serviceToken(node.address, heir, { scope }))).toBe(true);
  }
});
