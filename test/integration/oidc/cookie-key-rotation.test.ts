import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient, type TestClient } from '../../harness/factories.ts';
import { authorizationRequest, authorize, codeFor } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { advanceServerSecrets, passForServerSecrets } from '../../harness/server-secret-time.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

const SESSION_SECONDS = 3_600;

let first: TestServer;
let second: TestServer;
let client: TestClient;
beforeAll(async () => {
  const environment = { SESSION_TTL: String(SESSION_SECONDS), INTERACTION_TTL: '600' };
  first = await startTestServer({ environment });
  second = await startTestServer({ node: first, environment: { ...environment, ISSUER: first.issuer } });
  client = await createTestClient(first.domains);
});
afterAll(async () => {
  await second.close();
  await first.close();
});

type Cookies = Record<string, string>;

/** Whether these cookies are of somebody who is signed in; asked with a browser that keeps nothing of the answer. */
async function isSignedIn(node: TestServer, cookies: Cookies): Promise<boolean> {
  const person = new Person();
  for (const [name, value] of Object.entries(cookies)) person.setCookie(name, value);
  const { url } = authorizationRequest(node.address, client.id, { prompt: 'none' });
  const location = new URL((await person.request(url)).headers.get('location') ?? '');
  if (!location.searchParams.has('code') && location.searchParams.get('error') !== 'login_required') {
    throw new Error(`neither signed in nor asked to: ${location.href}`);
  }
  return location.searchParams.has('code');
}

async function signIn(): Promise<Cookies> {
  const person = new Person();
  await authorize(person, authorizationRequest(first.address, client.id), await createTestAccount(first.domains));
  return person.cookies();
}

const keysOf = ({ domains }: TestServer) => domains.cookieKeys();

async function bothNodesHave(keys: readonly string[]): Promise<void> {
  for (const node of [first, second]) {
    await until('the node has the keys', () => JSON.stringify(keysOf(node)) === JSON.stringify(keys), SEEN_WITHIN_MS);
  }
}

describe('when the cookie key rotates', () => {
  test('who signed in before stays signed in, on every node, until the longest session has ended', async () => {
    const cookies = await signIn();
    const [old] = keysOf(first);
    await advanceServerSecrets(first.domains);
    await until('the announced key is loaded', () => keysOf(second).length === 2, SEEN_WITHIN_MS);
    const [, next] = keysOf(second);
    expect(keysOf(second)[0]).toBe(old);
    // It signs nothing yet, and verifies already.
    expect(await isSignedIn(second, cookies)).toBe(true);

    await advanceServerSecrets(second.domains);
    await bothNodesHave([next ?? '', old ?? '']);
    for (const node of [first, second]) expect(await isSignedIn(node, cookies)).toBe(true);

    const newer = await signIn();
    expect(await isSignedIn(second, newer)).toBe(true);

    await passForServerSecrets(first.domains, SESSION_SECONDS - 5);
    await first.domains.serverSecrets.advance();
    for (const node of [first, second]) {
      await node.domains.serverSecrets.reload();
      expect(await isSignedIn(node, cookies)).toBe(true);
    }
    await passForServerSecrets(first.domains, 70);
    await first.domains.serverSecrets.advance();
    await bothNodesHave([next ?? '']);
    for (const node of [first, second]) {
      expect(await isSignedIn(node, cookies)).toBe(false);
      expect(await isSignedIn(node, newer)).toBe(true);
    }
  });

  test('a sign-in that has begun goes on, on another node', async () => {
    const person = new Person();
    const account = await createTestAccount(first.domains);
    const page = await person.open(authorizationRequest(first.address, client.id).url);
    const [old] = keysOf(first);
    await advanceServerSecrets(first.domains);
    await advanceServerSecrets(first.domains);
    for (const node of [first, second])
      await until('the node has taken over', () => keysOf(node)[0] !== old, SEEN_WITHIN_MS);
    const url = page.url.replace(first.address, second.address);
    const after = await person.submit(
      { ...page, url },
      { login: account.login, password: account.password },
      '/sign-in',
    );
    // The way back leads to the issuer, which is the other node.
    expect((await person.open(after.url)).html).toContain('name="decision"');
  });
});

test('cookie keys of the operator win, and none of ours rotates', async () => {
  const given = [randomBytes(32).toString('base64url'), randomBytes(32).toString('base64url')];
  const server = await startTestServer({ environment: { COOKIE_KEYS: given.join(',') } });
  for (let turn = 0; turn < 3; turn += 1) await advanceServerSecrets(server.domains);
  await server.domains.serverSecrets.reload();
  expect(keysOf(server)).toEqual(given);
  const rows = await server.domains.database.knex('server_secrets').where({ name: 'cookie_key' });
  expect(rows.map(({ version }) => version)).toEqual([1]);
  const own = await createTestClient(server.domains);
  const { code } = await codeFor(server.issuer, own, await createTestAccount(server.domains));
  expect(code).toBeTruthy();
  await server.close();
});
