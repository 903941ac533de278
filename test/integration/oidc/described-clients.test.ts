import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type DocumentHost, startDocumentHost } from '../../harness/document-host.ts';
import { createTestAccount, createTestApi, createTestClient, unique } from '../../harness/factories.ts';
import { authorizationRequest, authorize, codeFor, signInForTokens } from '../../harness/flows.ts';
import { errorOnPage, Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { introspect, isActive, post, refresh, userinfo } from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';

const ENVIRONMENT = { CLIENT_ID_METADATA_DOCUMENTS: 'true' };

let server: TestServer;
let second: TestServer;
let hosts: DocumentHost;
let account: Awaited<ReturnType<typeof createTestAccount>>;
/** May introspect every token. */
let watcher: { id: string; secret: string };

beforeAll(async () => {
  hosts = await startDocumentHost();
  server = await startTestServer({ environment: ENVIRONMENT });
  second = await startTestServer({ node: server, environment: { ...ENVIRONMENT, ISSUER: server.issuer } });
  account = await createTestAccount(server.domains);
  watcher = await createTestClient(server.domains, {
    mayIntrospectAny: true,
    metadata: { grant_types: ['client_credentials'], response_types: [], redirect_uris: [], scope: 'openid' },
  });
});
afterAll(async () => {
  await second?.close();
  await server?.close();
  await hosts?.close();
});

function credentials() {
  const { login, password } = account;
  return { login, password };
}

/** A client of which nothing but its document is known. */
function describeClient(members: object = {}) {
  const path = `/${unique('agent')}.json`;
  const id = `${hosts.origin}${path}`;
  const redirectUri = `${hosts.origin}/callback`;
  hosts.serve(path, {
    client_id: id,
    client_name: 'Example Agent',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    ...members,
  });
  return { id, secret: '', path, redirectUri };
}
type Described = ReturnType<typeof describeClient>;

const redirect = ({ redirectUri }: Described) => ({ redirect_uri: redirectUri });

async function signIn(client: Described, parameters: Record<string, string> = {}, extra: Record<string, string> = {}) {
  return signInForTokens(server.issuer, client, account, {
    parameters: { ...redirect(client), ...parameters },
    redemption: { ...redirect(client), ...extra },
  });
}

async function errorFor(client: { id: string }, parameters: Record<string, string> = {}) {
  const { url } = authorizationRequest(server.issuer, client.id, parameters);
  const page = await new Person().open(url);
  return { ...page, error: errorOnPage(page.html) };
}

async function openedApi() {
  const api = await createTestApi(server.domains, {
    identifier: `https://${unique('mcp')}.example.com`,
    tokenFormat: 'jwt',
    isOpenToUnregistered: true,
  });
  const read = api.scopes[0]?.scope ?? '';
  return { ...api, read };
}

describe('a client ID metadata document (draft-ietf-oauth-client-id-metadata-document-02)', () => {
  test('is offered in discovery', async () => {
    const response = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    expect(await response.json()).toMatchObject({ client_id_metadata_document_supported: true });
  });

  test('lets its client in, with tokens of its own', async () => {
    const client = describeClient();
    const tokens = await signIn(client, { scope: 'openid offline_access', prompt: 'consent' });
    expect((await userinfo(server.issuer, tokens.access_token)).body).toEqual({ sub: account.account.id });
    expect((await introspect(server.issuer, watcher, tokens.access_token)).body).toMatchObject({
      active: true,
      client_id: client.id,
    });
    expect((await refresh(server.issuer, client, tokens.refresh_token)).status).toBe(200);
    // Another node, which has never seen the document, asks nobody whether its token counts.
    expect(await isActive(second.address, watcher, tokens.access_token)).toBe(true);
    expect(hosts.requests(client.path)).toBe(1);
  });

  test('lets a client in that signs with its own key', async () => {
    const client = describeClient({ token_endpoint_auth_method: 'private_key_jwt', jwks_uri: `${hosts.origin}/jwks` });
    const { code, verifier } = await codeFor(server.issuer, client, account, { parameters: redirect(client) });
    const answer = await post(`${server.issuer}/token`, client, {
      grant_type: 'authorization_code',
      code,
      code_verifier: verifier,
      ...redirect(client),
    });
    // Without a signature it is nobody.
    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test('is good for codes at its own redirect URIs alone', async () => {
    const client = describeClient();
    expect((await errorFor(client, { redirect_uri: `${hosts.origin}/other` })).error).toBe('invalid_redirect_uri');
  });

  test('asks PKCE of its client', async () => {
    const client = describeClient();
    const { url } = authorizationRequest(server.issuer, client.id, redirect(client));
    const without = new URL(url);
    without.searchParams.delete('code_challenge');
    without.searchParams.delete('code_challenge_method');
    const { url: back } = await new Person().open(without.href);
    expect(new URL(back).searchParams.get('error')).toBe('invalid_request');
  });

  test('that can not be used is told to the developer of its client, and why', async () => {
    const client = describeClient({ client_secret: 'secret' });
    const { error, html, response } = await errorFor(client);
    expect({ error, status: response.status }).toEqual({ error: 'invalid_client', status: 400 });
    expect(html).toContain('has a client_secret');
    const missing = await errorFor({ id: `${hosts.origin}/missing.json` });
    expect(missing.html).toContain('was answered with 404');
  });

  test('that is not there is asked for once, however often its client is named', async () => {
    const id = `${hosts.origin}/${unique('missing')}.json`;
    for (let count = 0; count < 5; count += 1) await errorFor({ id });
    expect(hosts.requests(new URL(id).pathname)).toBe(1);
  });

  test('can not make its client a service', async () => {
    const client = describeClient({ grant_types: ['authorization_code', 'client_credentials'] });
    const answer = await post(`${server.issuer}/token`, client, { grant_type: 'client_credentials' });
    expect(answer.body.error_description).toBe('requested grant type is not allowed for this client');
  });

  test('lets nobody in where it is not offered', async () => {
    const other = await startTestServer();
    try {
      const client = describeClient();
      const { url } = authorizationRequest(other.issuer, client.id, redirect(client));
      expect(errorOnPage((await new Person().open(url)).html)).toBe('invalid_client');
      expect(hosts.requests(client.path)).toBe(0);
    } finally {
      await other.close();
    }
  });

  test('counts for nothing where its client is registered', async () => {
    const path = `/${unique('known')}.json`;
    const registered = await createTestClient(server.domains, { metadata: { client_id: `${hosts.origin}${path}` } });
    await codeFor(server.issuer, registered, account);
    expect(hosts.requests(path)).toBe(0);
  });
});

describe('an address that is not public', () => {
  test.each(['https://127.0.0.1:1/c.json', 'https://[::1]:1/c.json', 'https://localhost:1/c.json'])(
    'is not called for a document: %s',
    async (id) => {
      const production = await startTestServer({
        environment: { ...ENVIRONMENT, OUTBOUND_PRIVATE_RANGES: '10.9.9.9' },
      });
      try {
        const { url } = authorizationRequest(production.issuer, id);
        const { html } = await new Person().open(url);
        expect(errorOnPage(html)).toBe('invalid_client');
        // What there is behind this server is nobody's business.
        expect(html).toContain('could not be fetched');
        expect(html).not.toMatch(/public address|ECONNREFUSED/);
      } finally {
        await production.close();
      }
    },
  );
});

describe('an API', () => {
  test('gives its tokens to clients that nobody registered once it is opened to them', async () => {
    const api = await openedApi();
    const client = describeClient();
    const tokens = await signIn(
      client,
      { scope: `openid ${api.read}`, resource: api.identifier },
      { resource: api.identifier },
    );
    expect((await introspect(server.issuer, watcher, tokens.access_token)).body).toMatchObject({
      active: true,
      aud: api.identifier,
      scope: api.read,
      client_id: client.id,
    });
  });

  test('that is not opened is no target for them, though it shares its scopes with one that is', async () => {
    const open = await openedApi();
    const closed = await createTestApi(server.domains, { scopes: [open.read] });
    const client = describeClient();
    const { url } = authorizationRequest(server.issuer, client.id, {
      ...redirect(client),
      scope: `openid ${open.read}`,
      resource: closed.identifier,
    });
    const { url: back } = await new Person().open(url);
    expect(new URL(back).searchParams.get('error')).toBe('invalid_target');
  });

  test('that is closed again is closed to those that had it open', async () => {
    const api = await openedApi();
    const client = describeClient();
    const parameters = { scope: `openid offline_access ${api.read}`, resource: api.identifier, prompt: 'consent' };
    const tokens = await signIn(client, parameters, { resource: api.identifier });
    expect((await server.domains.apis.update(api.identifier, { isOpenToUnregistered: false })).ok).toBe(true);
    const answer = await refresh(server.issuer, client, tokens.refresh_token, { resource: api.identifier });
    expect(answer.status).toBe(400);
  });
});

describe('the consent page of a client that nobody registered', () => {
  async function consentOf(client: Described, redirectUri = client.redirectUri) {
    const person = new Person();
    const { url } = authorizationRequest(server.issuer, client.id, { redirect_uri: redirectUri });
    const page = await person.submit(await person.open(url), credentials(), '/sign-in');
    return { person, page };
  }

  test('names it, and the host that alone speaks for it', async () => {
    const { page } = await consentOf(describeClient());
    expect(page.html).toMatch(/Example Agent<\/strong> is not registered here/);
    expect(page.html).toContain(`what <strong dir="auto">${hosts.host}</strong> says`);
    expect(page.html).not.toContain('notice--warning');
  });

  test('warns where the answer goes to another host', async () => {
    const elsewhere = 'https://other.example/callback';
    const { page } = await consentOf(describeClient({ redirect_uris: [elsewhere] }), elsewhere);
    expect(page.html).toContain('notice--warning');
    expect(page.html).toContain('<strong dir="auto">other.example</strong>, another place');
  });

  test('says in words that the answer goes to an app on the device, whatever its port', async () => {
    const client = describeClient({ redirect_uris: ['http://127.0.0.1/callback'] });
    const { page } = await consentOf(client, 'http://127.0.0.1:49152/callback');
    expect(page.html).toContain('Your answer goes to an app on this device.');
    expect(page.html).toContain('you go back to an app on this device');
  });

  test('comes in every session: what was allowed is not remembered for whoever owns the URL next', async () => {
    const client = describeClient();
    await signIn(client);
    const { page } = await consentOf(client);
    expect(page.html).toContain('name="decision"');
  });
});

describe('an operator', () => {
  test.each([
    ['one client', (client: Described) => client.id],
    ['a host', () => 'localhost'],
  ])('blocks %s: within a second nothing that it has is good on any node', async (_, patternOf) => {
    const client = describeClient();
    const { domains } = server;
    const tokens = await signIn(client, { scope: 'openid offline_access', prompt: 'consent' });
    expect(await isActive(second.address, watcher, tokens.access_token)).toBe(true);
    expect(await domains.clientBlocks.block(patternOf(client))).toEqual({ ok: true });
    try {
      await until(
        'the other node refuses its token',
        async () => (await isActive(second.address, watcher, tokens.access_token)) === false,
        1_000,
      );
      expect((await refresh(server.issuer, client, tokens.refresh_token)).body.error).toBe('invalid_client');
      expect((await userinfo(server.issuer, tokens.access_token)).status).toBe(401);
      expect((await errorFor(client)).error).toBe('invalid_client');
    } finally {
      expect(await domains.clientBlocks.unblock(patternOf(client))).toEqual({ ok: true });
    }
    await until(
      'the other node takes its token again',
      async () => (await isActive(second.address, watcher, tokens.access_token)) === true,
      1_000,
    );
  });

  test('ends all that such a client has', async () => {
    const client = describeClient();
    const tokens = await signIn(client);
    expect(await server.domains.endAccess({ clientId: client.id })).toBeGreaterThan(0);
    expect(await isActive(server.issuer, watcher, tokens.access_token)).toBe(false);
  });

  test.each([
    '',
    'http://agent.example.com/client.json',
    'agent.example.com/client.json',
    '*.example.com',
    'Ä.example',
  ])('blocks URLs and hosts, not "%s"', async (pattern) => {
    expect(await server.domains.clientBlocks.block(pattern)).toMatchObject({ ok: false, code: 'invalid_metadata' });
  });
});

test('an authorization that names no such client leads nobody away', async () => {
  const { url } = authorizationRequest(server.issuer, `${hosts.origin}/nobody.json`, {
    redirect_uri: 'https://evil.example/',
  });
  const back = await authorize(new Person(), { url }, account).catch((error: Error) => error);
  expect(back).toBeInstanceOf(Error);
});
