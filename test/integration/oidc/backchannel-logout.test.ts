import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { query } from '../../harness/database.ts';
import { createTestAccount, createTestClient, PASSWORD, type TestClient, unique } from '../../harness/factories.ts';
import { authorizationRequest, signInForTokens } from '../../harness/flows.ts';
import { recordingLogger } from '../../harness/loggers.ts';
import { Person } from '../../harness/person.ts';
import { type RelyingParty, startRelyingParty } from '../../harness/relying-party.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { until } from '../../harness/until.ts';

type Answer = (attempt: number, response: ServerResponse) => void;

const { logger, lines } = recordingLogger();
const answers = new Map<string, Answer>();
let server: TestServer;
let party: RelyingParty;
const others: TestServer[] = [];
beforeAll(async () => {
  server = await startTestServer({ doesJobs: true, logger });
  party = await startRelyingParty({
    issuer: () => server.issuer,
    answer: (clientId, attempt, response) => {
      const answer = answers.get(clientId);
      if (answer === undefined) response.writeHead(200).end();
      else answer(attempt, response);
    },
  });
});
afterEach(async () => {
  for (const other of others.splice(0)) await other.close();
});
afterAll(async () => {
  await server.close();
  await party.close();
});

async function app(answer?: Answer, metadata: Record<string, unknown> = {}): Promise<TestClient> {
  const id = unique('app');
  if (answer !== undefined) answers.set(id, answer);
  return createTestClient(server.domains, {
    metadata: { client_id: id, backchannel_logout_uri: party.logoutUri(id), ...metadata },
  });
}

async function signedIn(client: TestClient, at = server) {
  const account = await createTestAccount(server.domains);
  const person = new Person();
  await signInForTokens(at.issuer, client, account, { person });
  return { account, person };
}

async function signOut(person: Person, at = server) {
  return person.submit(await person.open(`${at.issuer}/logout`), { logout: 'yes' }, '/logout/confirm');
}

const jobsOf = (clientId: string) =>
  query(server.databaseUrl, `select state, data from pgboss.job where data->>'clientId' = '${clientId}'`);

describe('a sign-out', () => {
  test('waits for no client', async () => {
    const client = await app(() => undefined);
    const { person } = await signedIn(client);
    const done = await signOut(person);
    expect(done.html).toContain('You are signed out');
    // The client has not answered, and never will.
    await until('it is told', () => party.attempts(client.id) > 0);
    expect(lines.some((line) => line.client === client.id)).toBe(false);
  });

  test('is told again, by a fresh token, to a client that failed to hear', async () => {
    const client = await app((attempt, response) => response.writeHead(attempt === 1 ? 503 : 200).end());
    const { person } = await signedIn(client);
    await signOut(person);
    await until('it is told twice', () => party.all(client.id).length === 2);
    const [first, second] = party.all(client.id).map(({ claims }) => claims);
    expect(second?.jti).not.toBe(first?.jti);
    expect(Number(second?.iat)).toBeGreaterThan(Number(first?.iat));
    await until('it is done', async () => (await jobsOf(client.id))[0]?.state === 'completed');
  });

  test('is told once to a client that says it won’t hear (section 2.8)', async () => {
    const client = await app((_attempt, response) => response.writeHead(400).end());
    const { person } = await signedIn(client);
    await signOut(person);
    await until('it is done', async () => (await jobsOf(client.id))[0]?.state === 'completed');
    expect(party.attempts(client.id)).toBe(1);
    expect(lines).toContainEqual(expect.objectContaining({ level: 40, client: client.id }));
  });

  test('follows no redirect', async () => {
    const elsewhere = await app();
    const client = await app((_attempt, response) =>
      response.writeHead(307, { location: party.logoutUri(elsewhere.id) }).end(),
    );
    const { person } = await signedIn(client);
    await signOut(person);
    await until('it has failed', async () => (await jobsOf(client.id))[0]?.state === 'retry');
    expect(party.attempts(elsewhere.id)).toBe(0);
  });

  test('is not told to a client that is gone by then', async () => {
    const client = await app();
    const { person } = await signedIn(client);
    await server.domains.clients.delete(client.id);
    await signOut(person);
    const last = await app();
    await signOut((await signedIn(last)).person);
    await party.heard(last.id);
    expect(party.attempts(client.id)).toBe(0);
  });

  test('fails, and leaves the person signed in, where it can’t be made sure that clients hear', async () => {
    const client = await app();
    const { person } = await signedIn(client);
    await server.domains.database.knex.raw('alter table job_outbox rename to job_outbox_away');
    try {
      const done = await signOut(person);
      expect(done.response.status).toBeGreaterThanOrEqual(500);
    } finally {
      await server.domains.database.knex.raw('alter table job_outbox_away rename to job_outbox');
    }
    const { url } = await person.open(authorizationRequest(server.issuer, client.id, { prompt: 'none' }).url);
    expect(new URL(url).searchParams.has('code')).toBe(true);
    await signOut(person);
    await party.heard(client.id);
  });

  test('on a node that does no jobs is told by another', async () => {
    const other = await startTestServer({ environment: { ISSUER: server.issuer }, node: server });
    others.push(other);
    const client = await app();
    const { person } = await signedIn(client);
    // The same session, at the other node's address.
    const there = new Person();
    for (const [name, value] of Object.entries(person.cookies())) there.setCookie(name, value);
    const page = await there.open(`${other.address}/logout`);
    const html = page.html.replaceAll(server.issuer, other.address);
    await there.submit({ ...page, html }, { logout: 'yes' }, '/logout/confirm');
    expect((await party.heard(client.id)).claims.iss).toBe(server.issuer);
  });
});

describe('sessions that end by something else', () => {
  test('everything of an account is ended: every client of every session hears once', async () => {
    const [first, second] = [await app(undefined, { backchannel_logout_session_required: true }), await app()];
    const { account } = await signedIn(first);
    await signInForTokens(server.issuer, first, account, { person: new Person() });
    await signInForTokens(server.issuer, second, account, { person: new Person() });
    await server.domains.endAccess({ accountId: account.account.id });
    await until('all are told', () => party.all(first.id).length >= 2 && party.all(second.id).length >= 1);
    expect(new Set(party.all(first.id).map(({ claims }) => claims.sid)).size).toBe(2);
    expect(party.all(second.id)).toHaveLength(1);
  });

  test.each([
    ['disabled', (id: string) => server.domains.accounts.disable(id)],
    ['deleted', (id: string) => server.domains.accounts.delete(id)],
    ['given a new password', (id: string) => server.domains.accounts.setPassword(id, `${PASSWORD} anew`)],
  ])('an account that is %s: its clients hear, with the subject that they know', async (_how, change) => {
    const client = await app();
    const { account } = await signedIn(client);
    expect(await change(account.account.id)).toMatchObject({ ok: true });
    await server.domains.endAccess({ accountId: account.account.id });
    expect((await party.heard(client.id)).claims.sub).toBe(account.account.id);
  });

  test('a session that has ended before is told of no more', async () => {
    const client = await app();
    const { account, person } = await signedIn(client);
    await signOut(person);
    await party.heard(client.id);
    await server.domains.endAccess({ accountId: account.account.id });
    const waiting = await query(server.databaseUrl, `select payload from job_outbox`);
    expect(JSON.stringify(waiting)).not.toContain(client.id);
    expect(await jobsOf(client.id)).toHaveLength(1);
  });
});

describe('the address of a client', () => {
  test('that is private is not called, unless the operator allows it', async () => {
    const strict = await startTestServer({ environment: { OUTBOUND_PRIVATE_RANGES: '10.0.0.0/8' }, doesJobs: true });
    others.push(strict);
    const id = unique('app');
    const client = await createTestClient(strict.domains, {
      metadata: { client_id: id, backchannel_logout_uri: party.logoutUri(id) },
    });
    const account = await createTestAccount(strict.domains);
    const person = new Person();
    await signInForTokens(strict.issuer, client, account, { person });
    await signOut(person, strict);
    await until(
      'it has failed',
      async () =>
        (await query(strict.databaseUrl, 'select state from pgboss.job where retry_count > 0 or state = $$retry$$'))[0],
    );
    expect(party.attempts(id)).toBe(0);
  });

  test.each([
    ['has a fragment', 'https://app.example.com/logout#now'],
    ['is no address', 'logout'],
    ['is http elsewhere', 'http://app.example.com/logout'],
  ])('that %s is refused', async (_what, uri) => {
    const created = createTestClient(server.domains, { metadata: { backchannel_logout_uri: uri } });
    await expect(created).rejects.toThrow('backchannel_logout_uri');
  });
});
