import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MAX_AGE_MS } from '../../../src/tokens/artifact-cache.ts';
import { asSuperuser } from '../../harness/database.ts';
import { type DatabaseWay, openDatabaseWay } from '../../harness/database-way.ts';
import { createTestAccount, createTestApi, createTestClient, type TestClient } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { lockArtifacts } from '../../harness/table-lock.ts';
import { isActive, revoke, userinfo } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

/** With a cache, listening by a way of its own that the tests cut and silence; and one without, on the same database. */
let way: DatabaseWay;
let caching: TestServer;
let plain: TestServer;
beforeAll(async () => {
  plain = await startTestServer({ environment: { TOKEN_CACHE_SIZE: '0' } });
  way = await openDatabaseWay(plain.databaseUrl);
  caching = await startTestServer({ node: plain, environment: { ISSUER: plain.issuer }, listenUrl: way.url });
});
afterAll(async () => {
  await caching.close();
  await way.cut();
  await plain.close();
});

/** A person's token, whose verification wants its grant and its session as well. */
async function personsToken(): Promise<{ client: TestClient; token: string }> {
  const client = await createTestClient(plain.domains);
  const { access_token: token } = await signInForTokens(plain.address, client, await createTestAccount(plain.domains));
  await until('the token is active', () => isActive(caching.address, client, token).then(Boolean));
  return { client, token };
}

const statementCount = ({ domains }: TestServer) =>
  Object.values(domains.artifacts.counts().statements).reduce((sum, count) => sum + count, 0);

/** Statements of the token store on its way. */
async function statementsDuring(server: TestServer, work: () => Promise<unknown>): Promise<number> {
  const before = statementCount(server);
  await work();
  return statementCount(server) - before;
}

async function introspectTimes(
  server: TestServer,
  { client, token }: { client: TestClient; token: string },
  count: number,
) {
  const answers = await Promise.all(Array.from({ length: count }, () => isActive(server.address, client, token)));
  expect(new Set(answers)).toEqual(new Set([true]));
}

const isCaching = async (of: { client: TestClient; token: string }) => {
  const { hits } = caching.domains.artifacts.counts().cache;
  await introspectTimes(caching, of, 2);
  return caching.domains.artifacts.counts().cache.hits > hits;
};

describe('what introspection asks of the database', () => {
  test('without a cache: one statement for one, and for all that arrive while the database is busy', async () => {
    const person = await personsToken();
    await introspectTimes(plain, person, 1);
    expect(await statementsDuring(plain, () => introspectTimes(plain, person, 1))).toBe(1);
    const before = plain.domains.artifacts.counts().statements;
    const lock = await lockArtifacts(plain.databaseUrl);
    const together = await statementsDuring(plain, async () => {
      const answers = introspectTimes(plain, person, 100);
      await until('two batches wait for the database', async () => (await lock.waiters()) === 2);
      // Answered after the requests that came before it were read.
      await fetch(`${plain.address}/jwks`);
      await lock.release();
      await answers;
    });
    expect(together).toBeLessThan(50);
    const after = plain.domains.artifacts.counts().statements;
    // Token, grant and session came in the same one.
    expect((after['artifacts-tokens'] ?? 0) - (before['artifacts-tokens'] ?? 0)).toBe(together);
  });

  test('with a cache: next to nothing of hot tokens', async () => {
    const people = await Promise.all([personsToken(), personsToken(), personsToken()]);
    const rounds = 40;
    const started = performance.now();
    const asked = await statementsDuring(caching, async () => {
      for (let round = 0; round < rounds; round += 1) {
        await Promise.all(people.map((person) => introspectTimes(caching, person, 20)));
      }
    });
    // Each token is read again once it is too old, however slow this machine is.
    const turns = Math.ceil((performance.now() - started) / MAX_AGE_MS) + 1;
    expect(asked).toBeLessThanOrEqual(turns * people.length);
    expect(asked / (rounds * people.length * 20)).toBeLessThan(0.05);
  });

  test("introspection of a person's JWT takes none either, once its grant is held", async () => {
    const api = await createTestApi(plain.domains, { tokenFormat: 'jwt' });
    const scope = api.scopes[0]?.scope ?? '';
    const client = await createTestClient(plain.domains, { metadata: { scope: `openid ${scope}` } });
    const { access_token: token } = await signInForTokens(
      plain.address,
      client,
      await createTestAccount(plain.domains),
      {
        parameters: { scope: `openid ${scope}`, resource: api.identifier },
        redemption: { resource: api.identifier },
      },
    );
    expect(token.split('.')).toHaveLength(3);
    await until('the token is active', () => isActive(caching.address, client, token).then(Boolean));
    await until('an answer takes no statement', async () => {
      return (await statementsDuring(caching, () => introspectTimes(caching, { client, token }, 1))) === 0;
    });
    expect((await revoke(plain.address, client, token)).status).toBe(200);
    const revoked = performance.now();
    await until('the token is inactive', async () => !(await isActive(caching.address, client, token)));
    expect(performance.now() - revoked).toBeLessThan(SEEN_WITHIN_MS);
  });

  test('userinfo of a hot token asks for nothing either', async () => {
    const person = await personsToken();
    await until('an answer takes no statement', async () => {
      const asked = await statementsDuring(caching, async () => {
        expect((await userinfo(caching.address, person.token)).status).toBe(200);
      });
      return asked === 0;
    });
  });
});

describe('a connection that listens for what ends', () => {
  test('while it is cut nothing is held: what ends elsewhere is inactive at once', async () => {
    const person = await personsToken();
    await until('the cache is used', () => isCaching(person));
    await way.cut();
    await until('the node knows', () => !caching.domains.changes.isListening());
    await introspectTimes(caching, person, 2);
    expect(await isCaching(person)).toBe(false);
    expect((await revoke(plain.address, person.client, person.token)).status).toBe(200);
    expect(await isActive(caching.address, person.client, person.token)).toBe(false);

    await way.open();
    const other = await personsToken();
    await until('the cache is used again', () => isCaching(other));
  });

  test('that PostgreSQL ends is made anew, and nothing from before is held', async () => {
    const person = await personsToken();
    await until('the cache is used', () => isCaching(person));
    const connections = way.connectionCount();
    await asSuperuser(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = '${new URL(plain.databaseUrl).pathname.slice(1)}' and application_name = 'tessera listen'`,
    );
    await until('it is made anew', () => way.connectionCount() > connections && caching.domains.changes.isListening());
    await until('the cache is used again', () => isCaching(person));
  });

  test('that has fallen silent keeps nothing alive for a second, and is noticed', async () => {
    const people = await Promise.all(Array.from({ length: 5 }, personsToken));
    for (const person of people) await until('the cache is used', () => isCaching(person));
    way.silence();
    for (const { client, token } of people) {
      await introspectTimes(caching, { client, token }, 1);
      await revoke(plain.address, client, token);
      const revoked = performance.now();
      await until('the token is inactive', async () => !(await isActive(caching.address, client, token)));
      expect(performance.now() - revoked).toBeLessThan(SEEN_WITHIN_MS);
    }
    await until('the node knows', () => !caching.domains.changes.isListening());
    way.resume();
    await until('it listens again', () => caching.domains.changes.isListening());
  });
});
