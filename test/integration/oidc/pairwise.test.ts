import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { type DocumentHost, startDocumentHost } from '../../harness/document-host.ts';
import { createTestAccount, createTestApi, createTestClient, unique } from '../../harness/factories.ts';
import { authorizationRequest, authorize, signInForTokens } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { introspect, redeem, refresh, revoke, userinfo } from '../../harness/token-requests.ts';

let server: TestServer;
let second: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  second = await startTestServer({ node: server, environment: { ISSUER: server.issuer } });
});
afterAll(async () => {
  await second.close();
  await server.close();
});

const pairwiseClient = (origin: string, metadata: Record<string, unknown> = {}, rest = {}) =>
  createTestClient(server.domains, {
    metadata: { subject_type: 'pairwise', redirect_uris: [`${origin}/callback`], ...metadata },
    ...rest,
  });

/** Signs in and consents at a client whose redirect URI is its own. */
async function tokensOf(
  client: { id: string; secret: string },
  origin: string,
  person: { login: string; password: string },
  parameters: Record<string, string> = {},
) {
  const redirect_uri = `${origin}/callback`;
  const request = authorizationRequest(server.issuer, client.id, { redirect_uri, ...parameters });
  const back = await authorize(new Person(), request, person);
  const code = String(back.searchParams.get('code'));
  const { resource } = parameters;
  const { status, body } = await redeem(server.issuer, client, code, request.verifier, {
    redirect_uri,
    ...(resource && { resource }),
  });
  expect(status).toBe(200);
  return body as { access_token: string; id_token: string; refresh_token: string };
}

describe('a pairwise subject (OpenID Connect Core 1.0, section 8.1)', () => {
  test('is one and the same for a person in one sector, on every node, and another one in each other sector', async () => {
    const person = await createTestAccount(server.domains);
    const [one, twin, other] = [
      await pairwiseClient('https://a.example.com'),
      await pairwiseClient('https://a.example.com'),
      await pairwiseClient('https://b.example.com'),
    ];
    const subOf = async (client: typeof one, origin: string) =>
      decodeJwt((await tokensOf(client, origin, person)).id_token).sub;
    const first = await subOf(one, 'https://a.example.com');
    expect(await subOf(twin, 'https://a.example.com')).toBe(first);
    const elsewhere = await subOf(other, 'https://b.example.com');
    const own = decodeJwt(
      String((await signInForTokens(server.issuer, await createTestClient(server.domains), person)).id_token),
    ).sub;
    expect(own).toBe(person.account.id);
    expect(new Set([first, elsewhere, own]).size).toBe(3);
    const somebody = await createTestAccount(server.domains);
    expect(decodeJwt((await tokensOf(one, 'https://a.example.com', somebody)).id_token).sub).not.toBe(first);
  });

  test.each(['opaque', 'jwt'] as const)(
    'is all that the client, its %s tokens and who introspects them learn; the account id is nowhere',
    async (tokenFormat) => {
      const guard = await createTestClient(server.domains, {
        metadata: { grant_types: ['client_credentials'], response_types: [], redirect_uris: [] },
      });
      const api = await createTestApi(server.domains, { tokenFormat, introspectionClientIds: [guard.id] });
      const scope = api.scopes[0]?.scope ?? '';
      const person = await createTestAccount(server.domains);
      const client = await pairwiseClient(
        'https://a.example.com',
        { scope: `openid email offline_access ${scope}`, grant_types: ['authorization_code', 'refresh_token'] },
        { apis: [api.identifier] },
      );
      const tokens = await tokensOf(client, 'https://a.example.com', person, {
        scope: `openid email offline_access ${scope}`,
        prompt: 'consent',
        resource: api.identifier,
      });
      const { sub } = decodeJwt(tokens.id_token);
      expect(sub).not.toBe(person.account.id);
      const answers = [
        await introspect(server.issuer, guard, tokens.access_token),
        await introspect(server.issuer, client, tokens.access_token),
        await introspect(second.address, client, tokens.refresh_token),
      ];
      for (const { body } of answers) expect(body).toMatchObject({ active: true, sub });
      const renewed = await refresh(server.issuer, client, tokens.refresh_token);
      expect(renewed.status).toBe(200);
      const forUserinfo = await tokensOf(client, 'https://a.example.com', person, { scope: 'openid email' });
      const info = await userinfo(server.issuer, forUserinfo.access_token);
      expect(info.body).toMatchObject({ sub, email: person.login });
      const all = JSON.stringify([tokens, answers.map(({ body }) => body), renewed.body, info.body]);
      const decoded = [tokens.id_token, ...(tokenFormat === 'jwt' ? [tokens.access_token] : [])].map((token) =>
        decodeJwt(token),
      );
      expect(all + JSON.stringify(decoded)).not.toContain(person.account.id);
      // What ends an account, or a token, finds its tokens all the same.
      await revoke(server.issuer, client, tokens.access_token);
      expect((await introspect(server.issuer, guard, tokens.access_token)).body).toEqual({ active: false });
    },
  );

  test('dies with the account, in a JWT that only names the subject', async () => {
    const api = await createTestApi(server.domains, { tokenFormat: 'jwt' });
    const scope = api.scopes[0]?.scope ?? '';
    const person = await createTestAccount(server.domains);
    const client = await pairwiseClient(
      'https://a.example.com',
      { scope: `openid ${scope}` },
      { apis: [api.identifier] },
    );
    const { access_token } = await tokensOf(client, 'https://a.example.com', person, {
      scope: `openid ${scope}`,
      resource: api.identifier,
    });
    expect((await introspect(server.issuer, client, access_token)).body.active).toBe(true);
    await server.domains.accounts.disable(person.account.id);
    expect((await introspect(server.issuer, client, access_token)).body).toEqual({ active: false });
  });

  test('fits as a hint of who is signed in', async () => {
    const person = await createTestAccount(server.domains);
    const client = await pairwiseClient('https://a.example.com');
    const redirect_uri = 'https://a.example.com/callback';
    const browser = new Person();
    const request = authorizationRequest(server.issuer, client.id, { redirect_uri });
    const back = await authorize(browser, request, person);
    const { body } = await redeem(server.issuer, client, String(back.searchParams.get('code')), request.verifier, {
      redirect_uri,
    });
    const again = authorizationRequest(server.issuer, client.id, {
      redirect_uri,
      prompt: 'none',
      id_token_hint: String(body.id_token),
    });
    expect(new URL((await browser.open(again.url)).url).searchParams.get('code')).toBeTruthy();
  });

  test('is not for clients whose redirect URIs have several hosts, nor for those that exchange tokens', async () => {
    await expect(
      pairwiseClient('https://a.example.com', { redirect_uris: ['https://a.example.com/', 'https://b.example.com/'] }),
    ).rejects.toThrow(/sector_identifier_uri/);
    await expect(
      pairwiseClient('https://a.example.com', {
        grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:token-exchange'],
      }),
    ).rejects.toThrow(/subject_type: pairwise excludes token exchange/);
  });
});

describe('a sector that is named by a document', () => {
  let hosts: DocumentHost;
  beforeAll(async () => {
    hosts = await startDocumentHost();
  });
  afterAll(() => hosts.close());

  const uris = ['https://a.example.com/callback', 'https://b.example.com/callback'];
  const clientOf = (document: unknown, path = `/${unique('sector')}.json`) =>
    pairwiseClient('https://a.example.com', {
      redirect_uris: uris,
      sector_identifier_uri: hosts.serve(path, document),
    });

  test('joins clients of several hosts, and is not asked again for each request', async () => {
    const path = `/${unique('sector')}.json`;
    const person = await createTestAccount(server.domains);
    const [one, twin] = [await clientOf(uris, path), await clientOf([...uris, 'https://c.example.com/'], path)];
    const asked = hosts.requests(path);
    const subs = [
      await tokensOf(one, 'https://a.example.com', person),
      await tokensOf(one, 'https://b.example.com', person),
      await tokensOf(twin, 'https://b.example.com', person),
    ].map(({ id_token }) => decodeJwt(id_token).sub);
    expect(new Set(subs).size).toBe(1);
    expect(subs[0]).not.toBe(person.account.id);
    expect(hosts.requests(path)).toBe(asked);
  });

  test.each([
    ['lacks a redirect URI', [uris[0]]],
    ['is no list', { uris }],
    ['lists something else', [1, ...uris]],
    ['is empty', []],
  ])('is refused where the document %s', async (_title, document) => {
    await expect(clientOf(document)).rejects.toThrow(/sector_identifier_uri|redirect_uris/);
  });

  test('is refused where there is no document, or it comes without https', async () => {
    const nowhere = { redirect_uris: uris, sector_identifier_uri: `${hosts.origin}/nowhere.json` };
    await expect(pairwiseClient('https://a.example.com', nowhere)).rejects.toThrow(/sector_identifier_uri/);
    const plain = { redirect_uris: uris, sector_identifier_uri: 'http://127.0.0.1:1/sector.json' };
    await expect(pairwiseClient('https://a.example.com', plain)).rejects.toThrow(/sector_identifier_uri/);
  });
});
