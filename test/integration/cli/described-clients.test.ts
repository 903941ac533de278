import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type DocumentHost, startDocumentHost } from '../../harness/document-host.ts';
import { createTestAccount, createTestApi, createTestClient, type TestClient } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, refresh } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';
import { type CommandLine, createCommandLine } from './command-line.ts';

let hosts: DocumentHost;
let server: TestServer;
let tessera: CommandLine;
let guard: TestClient;
let client: { id: string; secret: string };
let redirectUri: string;

beforeAll(async () => {
  hosts = await startDocumentHost();
  server = await startTestServer({ environment: { CLIENT_ID_METADATA_DOCUMENTS: 'true' } });
  tessera = createCommandLine({
    NODE_ENV: 'test',
    ISSUER: server.issuer,
    DATABASE_URL: server.databaseUrl,
    KEY_ENCRYPTION_KEY: server.keyEncryptionKey,
  });
  guard = await createTestClient(server.domains, { mayIntrospectAny: true });
  redirectUri = `${hosts.origin}/callback`;
  const id = `${hosts.origin}/client.json`;
  client = { id, secret: '' };
  hosts.serve('/client.json', {
    client_id: id,
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
  });
});
afterAll(async () => {
  await server?.close();
  await hosts?.close();
});

/** Tokens of such a client, one of each kind. */
async function begin() {
  const api = await createTestApi(server.domains, { tokenFormat: 'jwt', isOpenToUnregistered: true });
  const { login, password } = await createTestAccount(server.domains);
  const scope = `openid offline_access ${api.scopes[0]?.scope}`;
  const resource = api.identifier;
  const tokens = await signInForTokens(
    server.issuer,
    client,
    { login, password },
    {
      parameters: { redirect_uri: redirectUri, scope, resource, prompt: 'consent' },
      redemption: { redirect_uri: redirectUri },
    },
  );
  const { body } = await refresh(server.issuer, client, tokens.refresh_token, { resource });
  return { opaque: tokens.access_token, jwt: String(body.access_token), refreshToken: String(body.refresh_token) };
}

const isWorth = (token: string) => isActive(server.issuer, guard, token);
const areAll = (tokens: string[], wanted: boolean) =>
  until(
    `all are ${wanted ? 'good' : 'dead'}`,
    async () => (await Promise.all(tokens.map(isWorth))).every((isGood) => isGood === wanted),
    SEEN_WITHIN_MS,
  );

test('all tokens of a client that nobody registered are revoked by its URL', async () => {
  const { opaque, jwt, refreshToken } = await begin();
  await areAll([opaque, jwt, refreshToken], true);
  const { revoked } = await tessera.json(['token', 'revoke', '--client', client.id]);
  expect(revoked).toBeGreaterThan(0);
  await areAll([opaque, jwt, refreshToken], false);
  expect((await refresh(server.issuer, client, refreshToken)).body.error).toBe('invalid_grant');
});

test('such a client is blocked and let in again, which the trail tells', async () => {
  const { opaque, jwt } = await begin();
  expect(await tessera.json(['client', 'block', client.id])).toEqual({ pattern: client.id, blocked: true });
  await areAll([opaque, jwt], false);
  expect(await tessera.json(['client', 'blocks'])).toEqual([{ pattern: client.id, created_at: expect.any(String) }]);
  const again = await tessera.run(['client', 'block', client.id]);
  expect(again).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('is blocked already') });

  expect(await tessera.json(['client', 'unblock', client.id])).toEqual({ pattern: client.id, blocked: false });
  await areAll([opaque, jwt], true);
  const rows = await server.domains.database
    .knex('audit_events')
    .whereIn('type', ['client.blocked', 'client.unblocked']);
  expect(rows.map(({ type }: { type: string }) => type).sort()).toEqual(['client.blocked', 'client.unblocked']);
});

test('what is neither a URL nor a host is not blocked, and what is not blocked not unblocked', async () => {
  const block = await tessera.run(['client', 'block', 'http://agent.example.com/client.json']);
  expect(block).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('neither the https URL of a client') });
  const unblock = await tessera.run(['client', 'unblock', 'agent.example.com']);
  expect(unblock).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('is not blocked') });
});
