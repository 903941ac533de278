import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestAccount, createTestClient, PASSWORD } from '../../harness/factories.ts';
import { signInForTokens } from '../../harness/flows.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { isActive } from '../../harness/token-requests.ts';
import { openTestVault, type TestVault } from '../../harness/vault.ts';
import { type CommandLine, createCommandLine } from './command-line.ts';

let vault: TestVault;
let server: TestServer;
let tessera: CommandLine;
beforeAll(async () => {
  vault = await openTestVault({ isStandIn: true });
  const { address, token, key } = await vault.createKey();
  const environment = { VAULT_ADDR: address, VAULT_TOKEN: token, VAULT_TRANSIT_KEY: key };
  server = await startTestServer({ environment: { ...environment, KEY_ENCRYPTION_KEY: '' } });
  tessera = createCommandLine({
    NODE_ENV: 'test',
    ISSUER: server.issuer,
    DATABASE_URL: server.databaseUrl,
    ...environment,
  });
  await server.domains.signingKeys.rotate({ algorithm: 'ES256', now: true });
  await server.domains.signingKeys.rotate({ algorithm: 'RS256' });
});
afterAll(async () => {
  await server.close();
  await vault.close();
});

/** How often Vault was asked while it gave no answer at all. */
async function whileSilent(work: () => Promise<void>): Promise<number> {
  const before = vault.standIn?.requests.length ?? 0;
  vault.standIn?.fail(...Array<'silence'>(1_000).fill('silence'));
  try {
    await work();
    return (vault.standIn?.requests.length ?? 0) - before;
  } finally {
    vault.standIn?.fail();
  }
}

async function begin() {
  const client = await createTestClient(server.domains);
  const { account, login } = await createTestAccount(server.domains);
  const { access_token: token } = await signInForTokens(server.issuer, client, { login, password: PASSWORD });
  return { client, account, token };
}

async function kidOf(algorithm: string, state: string): Promise<string> {
  const keys = await server.domains.signingKeys.list();
  return keys.find((key) => key.algorithm === algorithm && key.state === state)?.kid ?? `no ${state} key`;
}

test('keys leave while Vault is silent: a retired one, and one that signs where another was announced', async () => {
  const [retired, active, next] = [
    await kidOf('ES256', 'retired'),
    await kidOf('RS256', 'active'),
    await kidOf('RS256', 'next'),
  ];
  const asked = await whileSilent(async () => {
    expect(await tessera.json(['key', 'revoke', retired, '--now'])).toMatchObject({ revoked: true });
    expect(await tessera.json(['key', 'revoke', active, '--now'])).toMatchObject({ signing_kid: next });
    expect(await tessera.json(['key', 'list'])).toHaveLength(4);
  });
  expect(asked).toBe(0);
});

test('people, clients and tokens are ended while Vault is silent', async () => {
  const [ofAccount, ofClient, ofPerson, one] = [await begin(), await begin(), await begin(), await begin()];
  const asked = await whileSilent(async () => {
    await tessera.json(['user', 'disable', ofAccount.account.email]);
    await tessera.json(['token', 'revoke', '--client', ofClient.client.id]);
    await tessera.json(['token', 'revoke', '--account', ofPerson.account.email]);
    await tessera.json(['token', 'revoke', '-'], one.token);
    await tessera.json(['client', 'rotate-secret', one.client.id]);
  });
  expect(asked).toBe(0);
  for (const { client, token } of [ofClient, ofPerson, ofAccount]) {
    expect(await isActive(server.issuer, client, token)).toBe(false);
  }
});

test('what needs a key waits for Vault, and says in one line that it is silent', async () => {
  const outcome = {
    exitCode: 1,
    stdout: '',
    stderr: expect.stringMatching(/^error: Vault at .* does not decrypt[^\n]*\n$/),
  };
  const before = await server.domains.signingKeys.list();
  await whileSilent(async () => {
    const [rotation, revocation] = await Promise.all([
      tessera.run(['key', 'rotate', '--now']),
      tessera.run(['key', 'revoke', await kidOf('ES256', 'active'), '--now']),
    ]);
    expect(rotation).toEqual(outcome);
    expect(revocation).toEqual(outcome);
  });
  expect(await server.domains.signingKeys.list()).toEqual(before);
});

test('no key is made by who could not open the others', async () => {
  const before = await server.domains.signingKeys.list();
  const KEY_ENCRYPTION_KEY = randomBytes(32).toString('base64url');
  const environment = { VAULT_ADDR: '', VAULT_TOKEN: '', VAULT_TRANSIT_KEY: '', KEY_ENCRYPTION_KEY };
  const args = ['key', 'revoke', await kidOf('ES256', 'active'), '--now'];
  expect(await tessera.run(args, { environment })).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: expect.stringMatching(/^error: VAULT_ADDR is not set and does not fit this database[^\n]*\n$/),
  });
  expect(await server.domains.signingKeys.list()).toEqual(before);
});
