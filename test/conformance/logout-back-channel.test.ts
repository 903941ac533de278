import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createTestAccount, createTestClient, type TestClient, unique } from '../harness/factories.ts';
import { authorizationRequest, signInForTokens } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { type RelyingParty, startRelyingParty } from '../harness/relying-party.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

/*
 * OpenID Connect Back-Channel Logout 1.0, against real servers of apps.
 */

const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout';

let server: TestServer;
let party: RelyingParty;
beforeAll(async () => {
  server = await startTestServer({ doesJobs: true });
  party = await startRelyingParty({ issuer: () => server.issuer });
});
afterAll(async () => {
  await server.close();
  await party.close();
});

function app(metadata: Record<string, unknown> = {}): Promise<TestClient> {
  const id = unique('app');
  return createTestClient(server.domains, {
    metadata: { client_id: id, backchannel_logout_uri: party.logoutUri(id), ...metadata },
  });
}

async function signOut(person: Person): Promise<void> {
  const page = await person.open(`${server.issuer}/logout`);
  const done = await person.submit(page, { logout: 'yes' }, '/logout/confirm');
  expect(done.html).toContain('You are signed out');
}

async function isSignedIn(person: Person, client: TestClient): Promise<boolean> {
  const { url } = await person.open(authorizationRequest(server.issuer, client.id, { prompt: 'none' }).url);
  return new URL(url).searchParams.has('code');
}

describe('OIDC Back-Channel Logout 1.0', () => {
  test('section 2.1: discovery says that logout tokens are sent, with a session id', async () => {
    const response = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    expect(await response.json()).toMatchObject({
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
    });
  });

  test('section 2.4: a client that asks for the session hears its sid, that of its ID token', async () => {
    const client = await app({ backchannel_logout_session_required: true });
    const account = await createTestAccount(server.domains);
    const person = new Person();
    const { id_token: idToken = '' } = await signInForTokens(server.issuer, client, account, { person });
    await signOut(person);
    const { claims, header } = await party.heard(client.id);
    expect(claims).toMatchObject({
      sub: account.account.id,
      sid: decodeJwt(idToken).sid,
      events: { [LOGOUT_EVENT]: {} },
    });
    expect(claims.sid).toEqual(expect.any(String));
    expect(claims).not.toHaveProperty('nonce');
    expect(header).toMatchObject({ typ: 'logout+jwt', alg: 'RS256', kid: expect.any(String) });
    expect(Number(claims.exp) - Number(claims.iat)).toBeLessThanOrEqual(120);
  });

  test('section 2.4: a client that does not ask for it hears the subject alone', async () => {
    const client = await app();
    const account = await createTestAccount(server.domains);
    const person = new Person();
    await signInForTokens(server.issuer, client, account, { person });
    await signOut(person);
    const { claims } = await party.heard(client.id);
    expect(claims.sub).toBe(account.account.id);
    expect(claims).not.toHaveProperty('sid');
  });

  test('section 2.5: every client of the session hears, and no other one', async () => {
    const [first, second, stranger] = [await app(), await app(), await app()];
    const account = await createTestAccount(server.domains);
    const person = new Person();
    for (const client of [first, second]) await signInForTokens(server.issuer, client, account, { person });
    await signOut(person);
    await Promise.all([first, second].map(({ id }) => party.heard(id)));
    expect([first, second, stranger].map(({ id }) => party.all(id).length)).toEqual([1, 1, 0]);
  });

  test('section 2.5: a session in another browser lives on, and its client hears nothing of it', async () => {
    const client = await app({ backchannel_logout_session_required: true });
    const account = await createTestAccount(server.domains);
    const [here, elsewhere] = [new Person(), new Person()];
    const { id_token: idToken = '' } = await signInForTokens(server.issuer, client, account, { person: here });
    await signInForTokens(server.issuer, client, account, { person: elsewhere });
    await signOut(here);
    await party.heard(client.id);
    expect(party.all(client.id).map(({ claims }) => claims.sid)).toEqual([decodeJwt(idToken).sid]);
    expect(await isSignedIn(elsewhere, client)).toBe(true);
  });

  test.each(['RS256', 'ES256'])(
    'section 2.6: the token is signed as the client’s ID tokens are, by %s',
    async (alg) => {
      const client = await app({ id_token_signed_response_alg: alg });
      const person = new Person();
      await signInForTokens(server.issuer, client, await createTestAccount(server.domains), { person });
      await signOut(person);
      expect((await party.heard(client.id)).header.alg).toBe(alg);
    },
  );
});
