import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { asSuperuser } from '../harness/database.ts';
import { type DatabaseWay, openDatabaseWay } from '../harness/database-way.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../harness/factories.ts';
import { signInForTokens } from '../harness/flows.ts';
import { type ServerProcess, startServerProcess } from '../harness/process.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { clientCredentials, isActive, serviceToken } from '../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../harness/until.ts';

/** Where changes are made; `server` is the other node, which hears of them by way of `way`. */
let changing: TestServer;
let way: DatabaseWay;
let server: ServerProcess;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tessera-lost-'));
  changing = await startTestServer();
  way = await openDatabaseWay(changing.databaseUrl);
  server = await startServerProcess({
    dataDirectory: folder,
    environment: {
      NODE_ENV: 'test',
      DATABASE_URL: changing.databaseUrl,
      DATABASE_DIRECT_URL: way.url,
      KEY_ENCRYPTION_KEY: changing.keyEncryptionKey,
    },
  });
  await server.ready();
});
afterAll(async () => {
  await server.dispose();
  await way.cut();
  await changing.close();
  rmSync(folder, { recursive: true });
});

async function warnings(): Promise<unknown> {
  const response = await fetch(`${server.address}/health/ready`);
  expect(response.status).toBe(200);
  return ((await response.json()) as { warnings?: unknown }).warnings;
}

/** An API that is new to the node, and a client for it. */
async function registerSomething(
  tokenFormat: 'jwt' | 'opaque' = 'opaque',
): Promise<{ client: TestClient; scope: string }> {
  const api = await createTestApi(changing.domains, { tokenFormat });
  const scope = api.scopes[0]?.scope ?? '';
  return { client: await createServiceClient(changing.domains, scope), scope };
}

async function isHonoured({ client, scope }: { client: TestClient; scope: string }): Promise<boolean> {
  return (await clientCredentials(server.address, client, { scope })).status === 200;
}

test('with the connection that listens for changes cut, a node warns, stays ready, and follows by asking', async () => {
  const before = await registerSomething();
  await until('a change is honoured', () => isHonoured(before));
  const token = await serviceToken(server.address, before.client, { scope: before.scope });

  await way.cut();
  await until('the node warns', async () => (await warnings()) !== undefined);
  const meanwhile = await registerSomething();
  await until('a change that nobody told of is honoured', () => isHonoured(meanwhile));
  await changing.domains.clients.delete(before.client.id);
  await until('a deleted client is refused', async () => !(await isHonoured(before)));
  const stranger = await createServiceClient(changing.domains, meanwhile.scope, { mayIntrospectAny: true });
  expect(await isActive(server.address, stranger, token)).toBe(false);

  await way.open();
  await until('the warning ends', async () => (await warnings()) === undefined);
  const afterwards = await registerSomething();
  await until('a change is honoured', () => isHonoured(afterwards));
});

test('with the connection that listens cut, a revocation that nobody told of is in force within a second', async () => {
  const { client, scope } = await registerSomething('jwt');
  await until('the client is known', () => isHonoured({ client, scope }));
  const [one, rest] = [
    await serviceToken(server.address, client, { scope }),
    await serviceToken(server.address, client, { scope }),
  ];
  await way.cut();
  await until('the node warns', async () => (await warnings()) !== undefined);
  const isDead = async (token: string) => !(await isActive(server.address, client, token));

  const { jti = '', exp = 0 } = decodeJwt(one);
  await changing.domains.revocations.revokeToken({ jti, exp, clientId: client.id });
  await until('the token is dead', () => isDead(one), SEEN_WITHIN_MS);
  expect(await isDead(rest)).toBe(false);
  await changing.domains.endAccess({ clientId: client.id });
  await until('every token of the client is dead', () => isDead(rest), SEEN_WITHIN_MS);
  expect(await isDead(await serviceToken(server.address, client, { scope }))).toBe(false);
  await way.open();
  await until('the warning ends', async () => (await warnings()) === undefined);
});

test('with the connection that listens cut, keys that are rotated and accounts that are disabled are seen by asking', async () => {
  const { domains } = changing;
  const app = await createTestClient(domains);
  const { account, ...credentials } = await createTestAccount(domains);
  await until('the client is known', async () => (await clientCredentials(server.address, app)).status === 400);
  const { access_token: token } = await signInForTokens(server.address, app, credentials);
  expect(await isActive(server.address, app, token)).toBe(true);
  await way.cut();
  await until('the node warns', async () => (await warnings()) !== undefined);

  await domains.accounts.disable(account.id);
  await until('the token is dead', async () => !(await isActive(server.address, app, token)), SEEN_WITHIN_MS);

  const rotated = await domains.signingKeys.rotate({ algorithm: 'RS256', now: true });
  const kid = rotated.ok ? rotated.rotated[0]?.kid : undefined;
  const { client, scope } = await registerSomething('jwt');
  await until('the client is known', () => isHonoured({ client, scope }));
  const { keys } = (await (await fetch(`${server.address}/jwks`)).json()) as { keys: { kid: string }[] };
  expect(keys.map((key) => key.kid)).toContain(kid);
  const signedBy = async () => decodeProtectedHeader(await serviceToken(server.address, client, { scope })).kid;
  await until('the new key signs', async () => (await signedBy()) === kid, SEEN_WITHIN_MS);
  await way.open();
  await until('the warning ends', async () => (await warnings()) === undefined);
});

test('a listening connection that PostgreSQL ends is made again by itself', async () => {
  const database = new URL(changing.databaseUrl).pathname.slice(1);
  await asSuperuser(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = '${database}' and application_name = 'tessera listen'`,
  );
  const change = await registerSomething();
  await until('a change is honoured', () => isHonoured(change));
  await until('no warning is left', async () => (await warnings()) === undefined);
});
