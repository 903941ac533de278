import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import {
  createTestAccount,
  createTestApi,
  createTestClient,
  PASSWORD,
  type TestClient,
} from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, refresh, serviceToken } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';
import { type CommandLine, createCommandLine } from './command-line.ts';

let server: TestServer;
let tessera: CommandLine;
let scope: string;
let resource: string;
let guard: TestClient;
beforeAll(async () => {
  server = await startTestServer();
  tessera = createCommandLine({
    NODE_ENV: 'test',
    ISSUER: server.issuer,
    DATABASE_URL: server.databaseUrl,
    KEY_ENCRYPTION_KEY: server.keyEncryptionKey,
    ARGON2_MEMORY_KIB: '8192',
    ARGON2_PASSES: '1',
  });
  guard = await createTestClient(server.domains, { mayIntrospectAny: true });
  const api = await createTestApi(server.domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
  scope = api.scopes[0]?.scope ?? '';
  resource = api.identifier;
});
afterAll(() => server.close());

async function begin() {
  const client = await createTestClient(server.domains, {
    metadata: {
      scope: `openid offline_access ${scope}`,
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    },
  });
  const { account, login } = await createTestAccount(server.domains);
  const { access_token: opaque, refresh_token: refreshToken = '' } = await signInForTokens(
    server.issuer,
    client,
    { login, password: PASSWORD },
    { parameters: { scope: `openid offline_access ${scope}`, resource, prompt: 'consent' } },
  );
  const { body } = await refresh(server.issuer, client, refreshToken, { resource });
  const own = await serviceToken(server.issuer, client, { scope });
  return { client, account, opaque, refreshToken, jwt: String(body.access_token), own };
}

async function expectDead(tokens: readonly string[]): Promise<void> {
  await until(
    'all are dead',
    async () => !(await Promise.all(tokens.map((token) => isActive(server.issuer, guard, token)))).includes(true),
    SEEN_WITHIN_MS,
  );
}

const expectAlive = async (token: string) => expect(await isActive(server.issuer, guard, token)).toBe(true);

test('a JWT is revoked by its value: a client’s alone, a person’s with its grant', async () => {
  const { client, account, opaque, refreshToken, jwt, own } = await begin();
  expect(await tessera.json(['token', 'revoke', own])).toEqual({ revoked: 1 });
  await expectDead([own]);
  await expectAlive(jwt);
  const ofGrant = await tessera.json(['token', 'revoke', '-'], jwt);
  expect(Number(ofGrant.revoked)).toBeGreaterThan(1);
  await expectDead([jwt, opaque, refreshToken]);
  const events = await server.domains.audit.tail({ limit: 100, types: ['token.revoked'] });
  const told = events.filter(({ clientId }) => clientId === client.id);
  expect(told.map(({ accountId, details, actor }) => [accountId, details.kind, actor?.kind]).sort()).toEqual(
    [
      [account.id, 'access', 'operator'],
      [undefined, 'client_credentials', 'operator'],
    ].sort(),
  );
});

test('one that is dead already, has expired, or is not of this server is not found', async () => {
  const { own } = await begin();
  await tessera.json(['token', 'revoke', own]);
  const forged = `${own.slice(0, -6)}AAAAAA`;
  const outcomes = await Promise.all(
    [own, forged, 'eyJhbGciOiJFUzI1NiJ9.e30.c2ln'].map((token) => tessera.run(['token', 'revoke', token])),
  );
  for (const outcome of outcomes) {
    expect(outcome).toEqual({ exitCode: 1, stdout: '', stderr: expect.stringMatching(/^error: no such token.*\n$/) });
  }
});

test('all of a grant, of an account, of a client: tokens of every format, and what is issued afterwards lives', async () => {
  const ofGrant = await begin();
  await tessera.json(['token', 'revoke', '--grant', String(decodeJwt(ofGrant.jwt).grant_id)]);
  await expectDead([ofGrant.jwt, ofGrant.opaque, ofGrant.refreshToken]);
  await expectAlive(ofGrant.own);

  const ofAccount = await begin();
  await tessera.json(['token', 'revoke', '--account', ofAccount.account.email]);
  await expectDead([ofAccount.jwt, ofAccount.opaque, ofAccount.refreshToken]);
  await expectAlive(ofAccount.own);

  const ofClient = await begin();
  await tessera.json(['token', 'revoke', '--client', ofClient.client.id]);
  await expectDead([ofClient.own, ofClient.jwt, ofClient.opaque, ofClient.refreshToken]);
  await expectAlive(await serviceToken(server.issuer, ofClient.client, { scope }));
});

test.each([
  ['disable', (login: string) => tessera.json(['user', 'disable', login])],
  ['set-password', (login: string) => tessera.json(['user', 'set-password', login, '--password-stdin'], 'another one')],
])('what ends a person’s access by %s does not come back when they are let in again', async (_what, end) => {
  const { account, jwt, opaque, refreshToken } = await begin();
  await end(account.email);
  await expectDead([jwt, opaque, refreshToken]);
  await tessera.json(['user', 'enable', account.email]);
  await expectDead([jwt, opaque, refreshToken]);
});

test('a client that is deleted leaves nothing alive to the one that gets its id', async () => {
  const { client, jwt, own } = await begin();
  await tessera.json(['client', 'delete', client.id]);
  await expectDead([jwt, own]);
  await createTestClient(server.domains, { metadata: client.client.metadata });
  await expectDead([jwt, own]);
});
