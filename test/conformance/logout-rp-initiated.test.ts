import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeProtectedHeader, EncryptJWT, SignJWT } from 'jose';
import { createTestAccount, createTestClient, type TestClient } from '../harness/factories.ts';
import { authorizationRequest, signInForTokens } from '../harness/flows.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

/*
 * OpenID Connect RP-Initiated Logout 1.0: the cases of the certification plan, by a person without JavaScript.
 */

const GOODBYE = 'https://app.example.com/goodbye';
const GOODBYE_WITH_QUERY = 'https://app.example.com/bye?lang=en';

let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  client = await createTestClient(server.domains, {
    metadata: { post_logout_redirect_uris: [GOODBYE, GOODBYE_WITH_QUERY] },
  });
});
afterAll(() => server.close());

async function signedIn() {
  const person = new Person();
  const account = await createTestAccount(server.domains);
  const { id_token: idToken = '' } = await signInForTokens(server.issuer, client, account, { person });
  return { person, idToken, account };
}

async function isSignedIn(person: Person): Promise<boolean> {
  const { url } = await person.open(authorizationRequest(server.issuer, client.id, { prompt: 'none' }).url);
  return new URL(url).searchParams.has('code');
}

/** Asks for a logout, and confirms it on the page. @returns where that leads */
async function logOut(person: Person, parameters: Record<string, string>) {
  const page = await person.open(`${server.issuer}/logout?${new URLSearchParams(parameters)}`);
  expect(page.response.status).toBe(200);
  return person.submit(page, { logout: 'yes' }, '/logout/confirm');
}

/** A page that says why, leads nowhere, and leaves the person signed in. */
async function expectRefusal(person: Person, parameters: Record<string, string>, error = 'invalid_request') {
  const page = await person.open(`${server.issuer}/logout?${new URLSearchParams(parameters)}`);
  expect(page.response.status).toBe(400);
  expect(errorOnPage(page.html)).toBe(error);
  expect(page.html).not.toContain('/logout/confirm');
  expect(await isSignedIn(person)).toBe(true);
}

describe('RP-Initiated Logout 1.0, section 2.1', () => {
  test('discovery names the end_session_endpoint', async () => {
    const response = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    expect(await response.json()).toMatchObject({ end_session_endpoint: `${server.issuer}/logout` });
  });
});

describe('RP-Initiated Logout 1.0, sections 2 and 3', () => {
  test('hint, address and state: back at the app, with the state', async () => {
    const { person, idToken } = await signedIn();
    const done = await logOut(person, { id_token_hint: idToken, post_logout_redirect_uri: GOODBYE, state: 'a b&c' });
    expect(done.url.startsWith(`${GOODBYE}?`)).toBe(true);
    expect([...new URL(done.url).searchParams]).toEqual([['state', 'a b&c']]);
    expect(await isSignedIn(person)).toBe(false);
  });

  test('no state: back at the app, and none is made up', async () => {
    const { person, idToken } = await signedIn();
    expect((await logOut(person, { id_token_hint: idToken, post_logout_redirect_uri: GOODBYE })).url).toBe(GOODBYE);
    expect(await isSignedIn(person)).toBe(false);
  });

  test('no parameters: signed out, on a page of ours', async () => {
    const { person } = await signedIn();
    const done = await logOut(person, {});
    expect(new URL(done.url).origin).toBe(server.issuer);
    expect(done.html).toContain('You are signed out');
    expect(await isSignedIn(person)).toBe(false);
  });

  test('only state: signed out, on a page of ours, and the state goes nowhere', async () => {
    const { person } = await signedIn();
    const done = await logOut(person, { state: 'only-this' });
    expect(done.html).toContain('You are signed out');
    expect(`${done.url}${done.html}`).not.toContain('only-this');
    expect(await isSignedIn(person)).toBe(false);
  });

  test('no address: signed out, on a page of ours', async () => {
    const { person, idToken } = await signedIn();
    const done = await logOut(person, { id_token_hint: idToken, state: 's' });
    expect(new URL(done.url).origin).toBe(server.issuer);
    expect(done.html).toContain('You are signed out');
    expect(await isSignedIn(person)).toBe(false);
  });

  test('no hint, though an address: signed out, and not sent to it', async () => {
    const { person } = await signedIn();
    const done = await logOut(person, { post_logout_redirect_uri: GOODBYE, state: 's' });
    expect(new URL(done.url).origin).toBe(server.issuer);
    expect(await isSignedIn(person)).toBe(false);
  });

  test('a bad hint: a page that says so', async () => {
    const { person } = await signedIn();
    await expectRefusal(person, { id_token_hint: 'not-a-token', post_logout_redirect_uri: GOODBYE });
  });

  test('a modified hint: a page that says so', async () => {
    const { person, idToken } = await signedIn();
    const [header, payload, signature = ''] = idToken.split('.');
    const flipped = `${signature.slice(0, 20)}${signature[20] === 'A' ? 'B' : 'A'}${signature.slice(21)}`;
    const hint = [header, payload, flipped].join('.');
    await expectRefusal(person, { id_token_hint: hint, post_logout_redirect_uri: GOODBYE });
  });

  test('an address that is not registered: a page that says so, and no way there', async () => {
    const { person, idToken } = await signedIn();
    const elsewhere = 'https://evil.example/goodbye';
    await expectRefusal(person, { id_token_hint: idToken, post_logout_redirect_uri: elsewhere });
  });

  test('a registered address with a query added to it: is not registered', async () => {
    const { person, idToken } = await signedIn();
    const added = `${GOODBYE}?added=1`;
    await expectRefusal(person, { id_token_hint: idToken, post_logout_redirect_uri: added });
  });

  test('an address that was registered with a query: back there, the state beside it', async () => {
    const { person, idToken } = await signedIn();
    const parameters = { id_token_hint: idToken, post_logout_redirect_uri: GOODBYE_WITH_QUERY, state: 's' };
    expect((await logOut(person, parameters)).url).toBe(`${GOODBYE_WITH_QUERY}&state=s`);
  });
});

describe('RP-Initiated Logout 1.0, section 2: the hint', () => {
  test('is good when it has expired, and when the key that signed it was retired', async () => {
    const { person, idToken } = await signedIn();
    const { kid } = decodeProtectedHeader(idToken);
    await server.domains.signingKeys.rotate({ now: true });
    await server.domains.signingKeys.rotate({ now: true });
    const fresh = await signedIn();
    expect(decodeProtectedHeader(fresh.idToken).kid).not.toBe(kid);
    const done = await logOut(person, { id_token_hint: idToken, post_logout_redirect_uri: GOODBYE });
    expect(done.url).toBe(GOODBYE);
  });

  test('of another issuer, unsigned, or encrypted: a page that says so', async () => {
    const { person, account } = await signedIn();
    const claims = { sub: account.account.id, aud: client.id, iss: server.issuer };
    const secret = new Uint8Array(32);
    const { privateJwks } = await server.domains.signingKeys.load();
    const key = privateJwks.find(({ alg }) => alg === 'RS256') ?? {};
    const foreign = await new SignJWT({ ...claims, iss: 'https://other.example' })
      .setProtectedHeader({ alg: 'RS256', kid: String(key.kid) })
      .sign(key);
    const byClient = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(secret);
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${byClient.split('.')[1]}.`;
    const encrypted = await new EncryptJWT(claims).setProtectedHeader({ alg: 'dir', enc: 'A256GCM' }).encrypt(secret);
    for (const hint of [foreign, byClient, unsigned, encrypted]) {
      await expectRefusal(person, { id_token_hint: hint, post_logout_redirect_uri: GOODBYE });
    }
  });

  test('of a client that was deleted: a page that says so', async () => {
    const gone = await createTestClient(server.domains, { metadata: { post_logout_redirect_uris: [GOODBYE] } });
    const person = new Person();
    const account = await createTestAccount(server.domains);
    await signInForTokens(server.issuer, client, account, { person });
    const { id_token: hint = '' } = await signInForTokens(server.issuer, gone, account, { person });
    await server.domains.clients.delete(gone.id);
    await expectRefusal(person, { id_token_hint: hint, post_logout_redirect_uri: GOODBYE }, 'invalid_client');
  });
});
