import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient, type TestClient } from '../harness/factories.ts';
import { codeFor, signInForTokens } from '../harness/flows.ts';
import { Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { isActive, redeem, refresh } from '../harness/token-requests.ts';

/** Two nodes of one issuer on one database: what only a process knows protects nothing. */
let nodes: [TestServer, TestServer];
let issuer: string;

beforeAll(async () => {
  const first = await startTestServer();
  issuer = first.issuer;
  nodes = [first, await startTestServer({ node: first, environment: { ISSUER: issuer } })];
});
afterAll(async () => {
  for (const node of [...nodes].reverse()) await node.close();
});

/** Every tenth code is fought over by many, the others by a few: both kinds of luck are tried. */
const redemptionsIn = (round: number) => (round % 10 === 0 ? 20 : 6);
const REFRESHES = 4;
const ROUNDS = 200;

/** Runs `work` `count` times at once, shared out between the nodes. */
function atOnce<T>(count: number, work: (address: string) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => work(nodes[index % 2 === 0 ? 0 : 1].address)));
}

/** `ROUNDS` codes of a person who has signed in, one after the other. */
async function withEachCode(
  client: TestClient,
  parameters: Record<string, string>,
  work: (issued: { code: string; verifier: string }) => Promise<void>,
): Promise<void> {
  const credentials = await createTestAccount(nodes[0].domains);
  const person = new Person();
  for (let round = 0; round < ROUNDS; round += 1) {
    await work(await codeFor(issuer, client, credentials, { person, parameters }));
  }
}

test('of parallel redemptions of one code on two nodes exactly one wins, two hundred times', async () => {
  const client = await createTestClient(nodes[0].domains);
  const winners: number[] = [];
  const refusals = new Set<unknown>();
  await withEachCode(client, {}, async ({ code, verifier }) => {
    const answers = await atOnce(redemptionsIn(winners.length), (address) => redeem(address, client, code, verifier));
    winners.push(answers.filter(({ status }) => status === 200).length);
    for (const { status, body } of answers) if (status !== 200) refusals.add(`${status} ${body.error}`);
  });
  expect(winners).toEqual(Array(ROUNDS).fill(1));
  expect([...refusals]).toEqual(['400 invalid_grant']);
});

test('the tokens of a code that was used twice are dead on every node', async () => {
  const client = await createTestClient(nodes[0].domains);
  const credentials = await createTestAccount(nodes[0].domains);
  const { code, verifier } = await codeFor(issuer, client, credentials);
  const { body } = await redeem(nodes[0].address, client, code, verifier);
  expect(await isActive(nodes[1].address, client, String(body.access_token))).toBe(true);
  expect((await redeem(nodes[1].address, client, code, verifier)).body.error).toBe('invalid_grant');
  for (const { address } of nodes) {
    expect(await isActive(address, client, String(body.access_token))).toBe(false);
  }
});

test('parallel uses of one refresh token of a public client are answered with one successor, two hundred times', async () => {
  const client = await createTestClient(nodes[0].domains, { metadata: { token_endpoint_auth_method: 'none' } });
  const parameters = { scope: 'openid offline_access', prompt: 'consent' };
  const successors: number[] = [];
  await withEachCode(client, parameters, async ({ code, verifier }) => {
    const { body } = await redeem(nodes[0].address, client, code, verifier);
    const parent = String(body.refresh_token);
    const answers = await atOnce(REFRESHES, (address) => refresh(address, client, parent));
    expect(answers.map(({ status }) => status)).toEqual(Array(REFRESHES).fill(200));
    const children = answers.map((answer) => answer.body.refresh_token);
    expect(children).not.toContain(parent);
    successors.push(new Set(children).size);
  });
  expect(successors).toEqual(Array(ROUNDS).fill(1));
  const rows = await nodes[0].domains.database
    .knex('artifacts')
    .where({ client_id: client.id, kind: 'RefreshToken' })
    .whereNull('consumed_at')
    .whereNull('destroyed_at');
  expect(rows).toHaveLength(ROUNDS);
});

test('parallel refreshes of two people do not mix up whose tokens they are', async () => {
  const client = await createTestClient(nodes[0].domains, { metadata: { token_endpoint_auth_method: 'none' } });
  const people = await Promise.all(
    [1, 2].map(async () => {
      const credentials = await createTestAccount(nodes[0].domains);
      const parameters = { scope: 'openid offline_access', prompt: 'consent' };
      const tokens = await signInForTokens(issuer, client, credentials, { parameters });
      return { id: credentials.account.id, refreshToken: tokens.refresh_token };
    }),
  );
  const answers = await Promise.all(
    people.map(async ({ id, refreshToken }) => {
      const { body } = await refresh(nodes[1].address, client, refreshToken);
      const response = await fetch(`${nodes[0].address}/userinfo`, {
        headers: { authorization: `Bearer ${body.access_token}` },
      });
      return { id, sub: ((await response.json()) as { sub: string }).sub };
    }),
  );
  for (const { id, sub } of answers) expect(sub).toBe(id);
});
