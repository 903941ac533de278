import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient } from '../../harness/factories.ts';
import { BURIAL, type FailingWrite, whileWritesFail } from '../../harness/failing-writes.ts';
import { codeFor, signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive, redeem, refresh, revoke, type Tokens } from '../../harness/token-requests.ts';

const OFFLINE = { scope: 'openid offline_access', prompt: 'consent' };

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

test.each([
  ['access_token', 'RefreshToken'],
  ['refresh_token', 'AccessToken'],
] as const)(
  'a revocation by the %s that failed half-way can be repeated, and then it ends everything',
  async (which, other) => {
    const client = await createTestClient(server.domains);
    const person = await createTestAccount(server.domains);
    const tokens = await signInForTokens(server.issuer, client, person, { parameters: OFFLINE });
    const writes: FailingWrite[] = [BURIAL, { before: 'delete', when: `old.kind = '${other}'` }];
    await whileWritesFail(server.domains.database.pool, writes, async () => {
      expect((await revoke(server.issuer, client, String(tokens[which]))).status).toBe(503);
    });
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
  await whileWritesFail(server.domains.database.pool, [BURIAL], async () => {
    expect((await redeem(server.issuer, client, code, verifier)).status).toBe(503);
  });
  expect((await redeem(server.issuer, client, code, verifier)).body.error).toBe('invalid_grant');
  expect(await isActive(server.issuer, client, tokens.access_token)).toBe(false);
  expect((await refresh(server.issuer, client, tokens.refresh_token)).body.error).toBe('invalid_grant');
  const events = await server.domains.audit.tail({ limit: 10, types: ['code.reuse_detected'] });
  expect(events.filter(({ clientId }) => clientId === client.id)).toHaveLength(1);
});
