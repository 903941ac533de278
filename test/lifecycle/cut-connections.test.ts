import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { query } from '../harness/database.ts';
import { type DatabaseWay, openDatabaseWay } from '../harness/database-way.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../harness/factories.ts';
import { codeFor, signInForTokens } from '../harness/flows.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { lockArtifacts } from '../harness/table-lock.ts';
import {
  type Answer,
  clientCredentials,
  introspect,
  isActive,
  redeem,
  refresh,
  revoke,
  serviceToken,
} from '../harness/token-requests.ts';
import { expectUnavailable } from '../harness/unavailable.ts';
import { until } from '../harness/until.ts';

const REQUESTS = 40;

/** Sets up, and sees what is in the database; `node` reaches it by `way`. */
let setUp: TestServer;
let way: DatabaseWay;
let node: TestServer;
let service: TestClient;
let app: TestClient;
let credentials: { login: string; password: string };
beforeAll(async () => {
  setUp = await startTestServer();
  const api = await createTestApi(setUp.domains);
  service = await createServiceClient(setUp.domains, api.scopes.map(({ scope }) => scope).join(' '));
  // Public: its refresh tokens rotate.
  app = await createTestClient(setUp.domains, { metadata: { token_endpoint_auth_method: 'none' } });
  credentials = await createTestAccount(setUp.domains);
});
afterAll(() => setUp.close());

beforeEach(async () => {
  way = await openDatabaseWay(setUp.databaseUrl);
  node = await startTestServer({ node: { databaseUrl: way.url, keyEncryptionKey: setUp.keyEncryptionKey } });
  await until('tokens are issued', async () => (await clientCredentials(node.issuer, service)).status === 200);
});
afterEach(async () => {
  await node.close();
  await way.cut();
});

const tokensInDatabase = async () => {
  const [row] = await query(
    setUp.databaseUrl,
    `select count(*)::int as count from artifacts where kind = 'ClientCredentials' and client_id = '${service.id}'`,
  );
  return Number(row?.count);
};

/** Every answer is a durable token or an honest 503. @returns the tokens */
async function expectDurableOr503(answers: readonly Answer[]): Promise<string[]> {
  const refused = answers.filter(({ status }) => status !== 200);
  for (const answer of refused) expectUnavailable(answer);
  const tokens = answers.filter(({ status }) => status === 200).map(({ body }) => String(body.access_token));
  for (const token of tokens) expect(await isActive(setUp.issuer, service, token)).toBe(true);
  return tokens;
}

test('where PostgreSQL ends the connections of batches, their requests are told 503 and those behind them get tokens', async () => {
  const before = await tokensInDatabase();
  const lock = await lockArtifacts(setUp.databaseUrl);
  const requests = Array.from({ length: REQUESTS }, () => clientCredentials(node.issuer, service));
  // One of them may be a sweep.
  await until('batches wait', async () => (await lock.waiters()) > 1);
  await lock.endWaiters();
  await until('the next batches wait', async () => (await lock.waiters()) > 0);
  await lock.release();
  const answers = await Promise.all(requests);
  const tokens = await expectDurableOr503(answers);
  expect(tokens.length).toBeGreaterThan(0);
  expect(tokens.length).toBeLessThan(REQUESTS);
  // None of those that were refused was written.
  expect(await tokensInDatabase()).toBe(before + tokens.length);
});

test('where the network cuts a batch that PostgreSQL then commits, nobody is told 200: its fate is unknown to the node', async () => {
  const before = await tokensInDatabase();
  const lock = await lockArtifacts(setUp.databaseUrl);
  const requests = Array.from({ length: REQUESTS }, () => clientCredentials(node.issuer, service));
  await until('batches wait', async () => (await lock.waiters()) > 0);
  await way.cut();
  const answers = await Promise.all(requests);
  await lock.release();
  await way.open();
  expect(await expectDurableOr503(answers)).toEqual([]);
  await until('what was under way is committed', async () => (await tokensInDatabase()) > before);
  await until('tokens are issued', async () => (await clientCredentials(node.issuer, service)).status === 200);
});

/** Sends a request, and cuts the network while PostgreSQL is at it. */
async function cutWhile(request: () => Promise<Answer>): Promise<Answer> {
  const lock = await lockArtifacts(setUp.databaseUrl);
  const asked = request();
  await until('the request waits', async () => (await lock.waiters()) > 0);
  await way.cut();
  const answer = await asked;
  await lock.release();
  await until('nothing of it is left', async () => {
    const rows = await query(setUp.databaseUrl, `select 1 from pg_locks where relation = 'artifacts'::regclass`);
    return rows.length === 0;
  });
  await way.open();
  return answer;
}

test('a revocation that was cut off is told 503, and may be repeated until it is told 200', async () => {
  const token = await serviceToken(node.issuer, service);
  // Known to the node: the next to wait is the revocation itself.
  expect(await isActive(node.issuer, service, token)).toBe(true);
  expect((await cutWhile(() => revoke(node.issuer, service, token))).status).toBe(503);
  await until('it is revoked', async () => (await revoke(node.issuer, service, token)).status === 200);
  for (const { issuer } of [node, setUp]) expect(await isActive(issuer, service, token)).toBe(false);
});

test('an introspection that was cut off is told 503, never a verdict', async () => {
  const token = await serviceToken(setUp.issuer, service);
  const answer = await cutWhile(() => introspect(node.issuer, service, token));
  expect([answer.status, answer.body.active]).toEqual([503, undefined]);
  await until('it is active', async () => (await introspect(node.issuer, service, token)).body.active === true);
});

test('a refresh that was cut off is told 503, and the same refresh token gets the client on', async () => {
  const parameters = { scope: 'openid offline_access', prompt: 'consent' };
  const tokens = await signInForTokens(node.issuer, app, credentials, { parameters });
  const answer = await cutWhile(() => refresh(node.issuer, app, tokens.refresh_token));
  expect(answer.status).toBe(503);
  const again = await until('it is answered', async () => {
    const { status, body } = await refresh(node.issuer, app, tokens.refresh_token);
    return status !== 503 && { status, body };
  });
  expect(again.status).toBe(200);
  expect((await refresh(node.issuer, app, String(again.body.refresh_token))).status).toBe(200);
});

test('a code whose redemption was cut off gives tokens once at the most', async () => {
  const { code, verifier } = await codeFor(node.issuer, app, credentials);
  expect((await cutWhile(() => redeem(node.issuer, app, code, verifier))).status).toBe(503);
  const again = await until('it is answered', async () => {
    const { status, body } = await redeem(node.issuer, app, code, verifier);
    return status !== 503 && { status, body };
  });
  if (again.status === 200) expect(await isActive(setUp.issuer, app, String(again.body.access_token))).toBe(true);
  else expect(again.body.error).toBe('invalid_grant');
  expect((await redeem(node.issuer, app, code, verifier)).body.error).toBe('invalid_grant');
});
