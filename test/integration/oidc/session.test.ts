import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient } from '../../harness/factories.ts';
import { authorizationRequest, authorize } from '../../harness/flows.ts';
import { Person } from '../../harness/person.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, redeem } from '../../harness/token-requests.ts';

const SESSION_TTL = 86_400;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ environment: { SESSION_TTL: String(SESSION_TTL) } });
});
afterAll(() => server.close());

/** Seconds from now until the sessions end, of one account or of nobody. */
async function secondsLeft(accountId: string | null): Promise<number[]> {
  const rows = await server.domains.database
    .knex('artifacts')
    .where({ kind: 'Session', account_id: accountId })
    .whereNull('destroyed_at')
    .select<{ expires_at: Date }[]>('expires_at');
  return rows.map((row) => (row.expires_at.getTime() - Date.now()) / 1000);
}

test('a session ends a fixed time after the sign-in, however much it is used', async () => {
  const { issuer, domains } = server;
  const client = await createTestClient(domains);
  const credentials = await createTestAccount(domains);
  const person = new Person();
  await authorize(person, authorizationRequest(issuer, client.id), credentials);
  const hourAgo = Math.floor(Date.now() / 1000) - 3_600;
  await domains.database
    .knex('artifacts')
    .where({ kind: 'Session', account_id: credentials.account.id })
    .update({ payload: domains.database.knex.raw(`jsonb_set(payload::jsonb, '{loginTs}', '${hourAgo}')::json`) });
  await authorize(person, authorizationRequest(issuer, client.id), credentials);
  const [left = 0] = await secondsLeft(credentials.account.id);
  expect(left).toBeGreaterThan(SESSION_TTL - 3_600 - 120);
  expect(left).toBeLessThanOrEqual(SESSION_TTL - 3_600);
});

test('a session in which nobody signed in is gone within minutes', async () => {
  await new Person().open(`${server.issuer}/logout`);
  const left = await secondsLeft(null);
  expect(left.length).toBeGreaterThan(0);
  expect(Math.max(...left)).toBeLessThanOrEqual(600);
});

test('a code that is redeemed many times at once leaves no live token', async () => {
  const { issuer, domains } = server;
  const client = await createTestClient(domains);
  const credentials = await createTestAccount(domains);
  const request = authorizationRequest(issuer, client.id);
  const back = await authorize(new Person(), request, credentials);
  const code = back.searchParams.get('code') ?? '';
  const answers = await Promise.all(Array.from({ length: 10 }, () => redeem(issuer, client, code, request.verifier)));
  const winners = answers.filter(({ status }) => status === 200);
  expect(winners).toHaveLength(1);
  expect(await isActive(issuer, client, String(winners[0]?.body.access_token))).toBe(false);
  await expect(domains.audit.flush().then(() => domains.audit.tail({ limit: 50 }))).resolves.toContainEqual(
    expect.objectContaining({ type: 'code.reuse_detected', clientId: client.id }),
  );
});

test('a consent that can’t be recorded is not given', async () => {
  const { issuer, domains } = server;
  const { knex } = domains.database;
  const client = await createTestClient(domains);
  const { login, password } = await createTestAccount(domains);
  const person = new Person();
  const signIn = await person.open(authorizationRequest(issuer, client.id).url);
  const consent = await person.submit(signIn, { login, password }, '/sign-in');
  await knex.raw('alter table audit_events rename to audit_events_away');
  try {
    const answer = await person.submit(consent, { decision: 'allow' }, '/consent');
    expect(answer.response.status).toBeGreaterThanOrEqual(500);
  } finally {
    await knex.raw('alter table audit_events_away rename to audit_events');
  }
  expect(await knex('consents').where({ client_id: client.id })).toEqual([]);
  const again = await person.open(authorizationRequest(issuer, client.id).url);
  expect(again.html).toContain('name="decision"');
});
