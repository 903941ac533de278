import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient } from '../../harness/factories.ts';
import { codeFor, signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, redeem, refresh, revoke, type Tokens } from '../../harness/token-requests.ts';

const OFFLINE = { scope: 'openid offline_access', prompt: 'consent' };

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());
afterEach(() => query('drop function if exists fail cascade'));

const query = (statement: string) => server.domains.database.pool.query(statement);

/** Statements that bury a grant fail as where a disk is full, and those too that delete something of these kinds. */
async function letFail(...deletions: string[]): Promise<void> {
  await query(`
    create function fail() returns trigger language plpgsql as $$ begin raise 'no space left'; end $$;
    create trigger fail_to_bury before update on artifacts for each row when (new.kind = 'Grant') execute function fail();
    create trigger fail_to_delete before delete on artifacts for each row
      when (old.kind = any('{${deletions.join(',')}}')) execute function fail()`);
}

test.each([
  ['access_token', 'RefreshToken'],
  ['refresh_token', 'AccessToken'],
] as const)(
  'a revocation by the %s that failed half-way can be repeated, and then it ends everything',
  async (which, other) => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const tokens = await signInForTokens(server.issuer, client, person, { parameters: OFFLINE });
    await letFail(other);
    expect((await revoke(server.issuer, client, String(tokens[which]))).status).toBeGreaterThanOrEqual(500);
    await query('drop function fail cascade');
    expect((await revoke(server.issuer, client, String(tokens[which]))).status).toBe(200);
    for (const token of [tokens.access_token, tokens.refresh_token]) {
      expect(await isActive(server.issuer, client, token)).toBe(false);
    }
    expect((await refresh(server.issuer, client, tokens.refresh_token)).body.error).toBe('invalid_grant');
  },
);

test('a second use of a code that could not be acted upon is recognised when it comes again', async () => {
  const client = await createTestClient(server.domains);
  const person = await createTestAccount(server.domains);
  const { code, verifier } = await codeFor(server.issuer, client, person, { parameters: OFFLINE });
  const tokens = (await redeem(server.issuer, client, code, verifier)).body as Tokens;
  await letFail();
  expect((await redeem(server.issuer, client, code, verifier)).status).toBeGreaterThanOrEqual(500);
  await query('drop function fail cascade');
  expect((await redeem(server.issuer, client, code, verifier)).body.error).toBe('invalid_grant');
  expect(await isActive(server.issuer, client, tokens.access_token)).toBe(false);
  expect((await refresh(server.issuer, client, tokens.refresh_token)).body.error).toBe('invalid_grant');
  const events = await server.domains.audit.tail({ limit: 10, types: ['code.reuse_detected'] });
  expect(events.filter(({ clientId }) => clientId === client.id)).toHaveLength(1);
});
