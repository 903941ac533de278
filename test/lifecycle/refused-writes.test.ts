import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { asSuperuser, query } from '../harness/database.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../harness/factories.ts';
import { authorizationRequest, codeFor } from '../harness/flows.ts';
import { errorOnPage, Person } from '../harness/person.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { lockArtifacts } from '../harness/table-lock.ts';
import {
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

const REASON = 'the database takes no changes: it is read-only, a standby, or away';

let server: TestServer;
let client: TestClient;
let service: TestClient;
let credentials: { login: string; password: string };
let tokens: { opaque: string; refresh: string; jwt: string };
let left: { code: string; verifier: string };
let person: Person;

beforeAll(async () => {
  server = await startTestServer();
  await query(
    server.databaseUrl,
    `create function refuse() returns trigger language plpgsql as $$ begin
       raise exception 'refused' using errcode = tg_argv[0];
     end $$`,
  );
});
afterAll(() => server.close());

beforeEach(async () => {
  const { domains, issuer } = server;
  const api = await createTestApi(domains, { tokenFormat: 'jwt' });
  const scope = api.scopes.map((known) => known.scope).join(' ');
  client = await createTestClient(domains, {
    metadata: {
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
      scope: `openid offline_access ${scope}`,
    },
  });
  const opaqueApi = await createTestApi(domains);
  service = await createServiceClient(domains, opaqueApi.scopes.map((known) => known.scope).join(' '));
  const { login, password } = await createTestAccount(domains);
  credentials = { login, password };
  person = new Person();
  const parameters = { scope: 'openid offline_access', prompt: 'consent' };
  const first = await codeFor(issuer, client, credentials, { person, parameters });
  const { body } = await redeem(issuer, client, first.code, first.verifier);
  tokens = {
    opaque: String(body.access_token),
    refresh: String(body.refresh_token),
    jwt: await serviceToken(issuer, client),
  };
  left = await codeFor(issuer, client, credentials, { person });
});

/** What is asked of a database that answers and takes no changes: each gets a true answer, or none. */
async function expectNoFalseAnswer(): Promise<void> {
  const { issuer } = server;
  expectUnavailable(await clientCredentials(issuer, service));
  expectUnavailable(await redeem(issuer, client, left.code, left.verifier));
  expectUnavailable(await refresh(issuer, client, tokens.refresh));
  expectUnavailable(await revoke(issuer, client, tokens.opaque));
  expectUnavailable(await revoke(issuer, client, tokens.jwt));
  for (const token of Object.values(tokens)) {
    const answer = await introspect(issuer, client, token);
    if (answer.status === 200) expect(answer.body.active).toBe(true);
    else expectUnavailable(answer);
  }
  const unknown = await introspect(issuer, client, 'x'.repeat(43));
  if (unknown.status === 200) expect(unknown.body.active).toBe(false);
  else expectUnavailable(unknown);
}

async function expectAllWell(): Promise<void> {
  const { issuer } = server;
  await until('tokens are issued', async () => (await clientCredentials(issuer, service)).status === 200);
  for (const token of Object.values(tokens)) expect(await isActive(issuer, client, token)).toBe(true);
  expect((await redeem(issuer, client, left.code, left.verifier)).status).toBe(200);
  expect((await refresh(issuer, client, tokens.refresh)).status).toBe(200);
  for (const token of [tokens.jwt, tokens.opaque]) {
    expect((await revoke(issuer, client, token)).status).toBe(200);
    expect(await isActive(issuer, client, token)).toBe(false);
  }
}

/** At every step a person gets a page that says so, or their app does. */
async function expectHonestPages(): Promise<void> {
  const { issuer } = server;
  const visitor = new Person();
  const opened = await visitor.open(authorizationRequest(issuer, client.id).url);
  const silent = await person.open(authorizationRequest(issuer, client.id, { prompt: 'none' }).url);
  for (const { response, html, url } of [opened, silent]) {
    if (url.startsWith('https://app.example.com')) {
      expect(new URL(url).searchParams.get('error')).toBe('temporarily_unavailable');
      continue;
    }
    expect([response.status, errorOnPage(html)]).toEqual([503, 'temporarily_unavailable']);
    expect(response.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  }
}

async function refuseWrites(sqlstate: string): Promise<void> {
  await query(
    server.databaseUrl,
    `do $$ declare t text; begin
       for t in select tablename from pg_tables where schemaname = 'public' loop
         execute format('create trigger refuse before insert or update or delete on %I
           for each statement execute function refuse(%L)', t, '${sqlstate}');
       end loop;
     end $$`,
  );
}

async function allowWrites(): Promise<void> {
  await query(
    server.databaseUrl,
    `do $$ declare t text; begin
       for t in select tablename from pg_tables where schemaname = 'public' loop
         execute format('drop trigger if exists refuse on %I', t);
       end loop;
     end $$`,
  );
}

describe('a database that refuses what is to be written', () => {
  afterEach(allowWrites);

  test.each([
    ['its disk is full', '53100'],
    ['it is out of memory', '53200'],
    ['its disk fails', '58030'],
    ['it took too long', '57014'],
    ['it waited in vain for a lock', '55P03'],
    ['the transaction had to give way', '40001'],
    ['the transaction was in a deadlock', '40P01'],
  ])(
    'because %s (%s): 503 and when to try again, no false verdict, and all is well when it is over',
    async (_, sqlstate) => {
      const signIn = await new Person().open(authorizationRequest(server.issuer, client.id).url);
      await refuseWrites(sqlstate);
      await expectNoFalseAnswer();
      await expectHonestPages();
      const refused = await new Person().submit(signIn, credentials, '/sign-in');
      expect(refused.response.status).toBeGreaterThanOrEqual(400);
      await allowWrites();
      await expectAllWell();
    },
  );
});

describe('a batch', () => {
  test('with one row that the database refuses fails that request alone', async () => {
    const { domains, issuer, databaseUrl } = server;
    const outcast = await createServiceClient(domains, 'unused', {
      metadata: { scope: service.client.metadata.scope },
    });
    await query(
      databaseUrl,
      `create trigger refuse_one before insert on artifacts for each row
       when (new.client_id = '${outcast.id}') execute function refuse('23514')`,
    );
    // Known to the node: what gathers then waits for nothing but the lock.
    await serviceToken(issuer, service);
    expect((await clientCredentials(issuer, outcast)).status).toBe(500);
    try {
      const lock = await lockArtifacts(databaseUrl);
      const first = [clientCredentials(issuer, service)];
      await until('a batch waits', async () => (await lock.waiters()) === 1);
      first.push(clientCredentials(issuer, service));
      await until('as many wait as may run at once', async () => (await lock.waiters()) === 2);
      const gathered = Array.from({ length: 30 }, (_, index) =>
        clientCredentials(issuer, index === 15 ? outcast : service),
      );
      // In the same process: what was sent before has come as far as it may when these are answered one after the other.
      for (let round = 0; round < gathered.length; round += 1) await fetch(`${issuer}/health/live`);
      await lock.release();
      const answers = await Promise.all([...first, ...gathered]);
      expect(answers.filter(({ status }) => status === 500).map(({ body }) => body.error)).toEqual(['server_error']);
      const issued = answers.filter(({ status }) => status === 200);
      expect(issued).toHaveLength(31);
      for (const { body } of issued) expect(await isActive(issuer, service, String(body.access_token))).toBe(true);
    } finally {
      await query(databaseUrl, 'drop trigger refuse_one on artifacts');
    }
  });
});

// Last: it cuts connections that the next test would find cut.
describe('a read-only database', () => {
  const database = () => new URL(server.databaseUrl).pathname.slice(1);
  const ready = async () => {
    const response = await fetch(`${server.address}/health/ready`);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  async function reconnect(): Promise<void> {
    await asSuperuser(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database()}'`);
  }
  afterEach(async () => {
    await asSuperuser(`alter database ${database()} reset default_transaction_read_only`);
    await reconnect();
  });

  test('issues and revokes nothing, tells no lie, makes the node not ready, and is back by itself', async () => {
    await asSuperuser(`alter database ${database()} set default_transaction_read_only = on`);
    await reconnect();
    // Not by the connections that were just cut.
    const notReady = await until('the node is not ready for this alone', async () => {
      const { status, body } = await ready();
      return status === 503 && JSON.stringify(body.reasons) === JSON.stringify([REASON]) && body;
    });
    expect(notReady).toMatchObject({ checks: { database: 'ok', changeable: 'failed' } });
    await expectNoFalseAnswer();
    await expectHonestPages();
    await asSuperuser(`alter database ${database()} reset default_transaction_read_only`);
    await reconnect();
    await until('the node is ready', async () => (await ready()).status === 200);
    await expectAllWell();
  });
});
