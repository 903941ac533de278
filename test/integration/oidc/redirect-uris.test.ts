import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient } from '../../harness/factories.ts';
import { authorizationRequest, authorize } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { redeem } from '../../harness/token-requests.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const webClient = (redirect_uris: string[]) => createTestClient(server.domains, { metadata: { redirect_uris } });
const nativeClient = (redirect_uris: string[]) =>
  createTestClient(server.domains, {
    metadata: { redirect_uris, application_type: 'native', token_endpoint_auth_method: 'none' },
  });

async function expectRefused(clientId: string, redirect_uri: string) {
  const { url } = authorizationRequest(server.issuer, clientId, { redirect_uri });
  const response = await new Person().request(url);
  expect({ redirect_uri, status: response.status }).toEqual({ redirect_uri, status: 400 });
  expect(response.headers.get('location')).toBeNull();
  expect(errorOnPage(await response.text())).toBe('invalid_redirect_uri');
}

/** `prompt=none` answers at once: an accepted address gets `login_required`. */
async function expectAccepted(clientId: string, redirect_uri: string) {
  const { url } = authorizationRequest(server.issuer, clientId, { redirect_uri, prompt: 'none' });
  const response = await new Person().request(url);
  const location = response.headers.get('location') ?? '';
  expect({ redirect_uri, isBack: location.startsWith(redirect_uri) }).toEqual({ redirect_uri, isBack: true });
  expect(location).toContain('error=login_required');
}

describe('a web client’s redirect URI is compared to the letter', () => {
  test('the registered ones are accepted, each with its own query', async () => {
    const uris = ['https://app.example.com/callback', 'https://app.example.com/other?tenant=1'];
    const client = await webClient(uris);
    for (const uri of uris) await expectAccepted(client.id, uri);
  });

  test.each([
    'https://app.example.com/callback/',
    'https://app.example.com/callback/more',
    'https://app.example.com/Callback',
    'https://APP.example.com/callback',
    'HTTPS://app.example.com/callback',
    'https://app.example.com:443/callback',
    'https://app.example.com:8443/callback',
    'https://app.example.com./callback',
    'https://app.example.com/callback?',
    'https://app.example.com/callback?code=x',
    'https://app.example.com/callback#',
    'https://app.example.com/callback#part',
    'https://app.example.com/callback%20',
    'https://app.example.com/callback%2F..%2Fevil',
    'https://app.example.com/callback/../callback',
    'https://app.example.com//callback',
    'https://app.example.com/c%61llback',
    'https://user@app.example.com/callback',
    'https://app.example.com@evil.example/callback',
    'https://app.example.com\\@evil.example/callback',
    'https://evil.example/https://app.example.com/callback',
    'https://app.example.com.evil.example/callback',
    'https://evil.example?https://app.example.com/callback',
    'http://app.example.com/callback',
    '//app.example.com/callback',
    '/callback',
    'app.example.com/callback',
    'javascript://app.example.com/callback%0aalert(1)',
    'data:text/html,hello',
    ' https://app.example.com/callback',
    'https://app.example.com/callback ',
    'https://app.example.com/callback\r\nSet-Cookie: a=b',
    'https://app.example.com/callback\u0000',
    'https://аpp.example.com/callback',
  ])('%j is not https://app.example.com/callback', async (uri) => {
    const client = await webClient(['https://app.example.com/callback']);
    await expectRefused(client.id, uri);
  });

  test('the port of a loopback address counts too', async () => {
    const client = await webClient(['http://localhost:8080/callback']);
    await expectAccepted(client.id, 'http://localhost:8080/callback');
    await expectRefused(client.id, 'http://localhost:8081/callback');
    await expectRefused(client.id, 'http://localhost/callback');
  });

  test('and no other client’s is accepted', async () => {
    const [one, other] = [await webClient(['https://one.example/cb']), await webClient(['https://other.example/cb'])];
    await expectRefused(one.id, 'https://other.example/cb');
    await expectAccepted(other.id, 'https://other.example/cb');
  });
});

describe('a native client (RFC 8252)', () => {
  test.each(['http://127.0.0.1', 'http://[::1]'])(
    'may listen at %s on any port, and on that path alone',
    async (origin) => {
      const client = await nativeClient([`${origin}/callback`]);
      for (const port of ['', ':1024', ':51004', ':65535'])
        await expectAccepted(client.id, `${origin}${port}/callback`);
      await expectRefused(client.id, `${origin}:51004/other`);
      await expectRefused(client.id, `${origin}:51004/callback?a=b`);
      await expectRefused(client.id, `${origin.replace('http:', 'https:')}:51004/callback`);
      await expectRefused(client.id, `${origin.replace('//', '//user@')}:51004/callback`);
      await expectRefused(client.id, 'http://evil.example:51004/callback');
    },
  );

  test('finds its way by a port that was not registered, code and tokens included', async () => {
    const client = await nativeClient(['http://127.0.0.1/callback']);
    const redirect_uri = 'http://127.0.0.1:51004/callback';
    const request = authorizationRequest(server.issuer, client.id, { redirect_uri });
    const back = await authorize(new Person(), request, await createTestAccount(server.domains));
    expect(back.href.startsWith(`${redirect_uri}?`)).toBe(true);
    const code = back.searchParams.get('code') ?? '';
    const elsewhere = await redeem(server.issuer, client, code, request.verifier, {
      redirect_uri: 'http://127.0.0.1:51005/callback',
    });
    expect(elsewhere.body.error).toBe('invalid_grant');
    expect((await redeem(server.issuer, client, code, request.verifier, { redirect_uri })).status).toBe(200);
  });

  test('may not mix up the names of the loopback address', async () => {
    const client = await nativeClient(['http://127.0.0.1/callback']);
    for (const host of ['localhost', '[::1]', '127.0.0.2', '127.1', '2130706433', '0.0.0.0']) {
      await expectRefused(client.id, `http://${host}:51004/callback`);
    }
  });

  test('may have registered localhost, which is a loopback address by another name', async () => {
    const client = await nativeClient(['http://localhost/callback']);
    for (const port of ['', ':51004']) await expectAccepted(client.id, `http://localhost${port}/callback`);
    await expectRefused(client.id, 'http://127.0.0.1:51004/callback');
    await expectRefused(client.id, 'http://localhost.evil.example:51004/callback');
  });

  test('may have a scheme of its own, compared to the letter', async () => {
    const client = await nativeClient(['com.example.app:/callback']);
    await expectAccepted(client.id, 'com.example.app:/callback');
    for (const uri of ['com.example.app:/callback/', 'com.example.app:/other', 'com.example.app2:/callback']) {
      await expectRefused(client.id, uri);
    }
  });
});
