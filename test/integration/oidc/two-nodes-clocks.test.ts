import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createTestAccount, createTestApi, createTestClient, PASSWORD } from '../../harness/factories.ts';
import { codeFor } from '../../harness/flows.ts';
import { type ServerProcess, startServerProcess } from '../../harness/process.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, isActive, redeem, refresh, revoke, serviceToken } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';
import { createCommandLine } from '../cli/command-line.ts';

const APART_MS = 30_000;

/** The environment of a process whose clock is ahead of this machine's, or behind it. */
const shiftedClock = (shiftMs: number) => ({
  NODE_OPTIONS: '--import=./test/harness/shifted-clock.ts',
  CLOCK_SHIFT_MS: String(shiftMs),
});

/** Three nodes of one server: one by this machine's clock, one ahead and one behind. */
let punctual: TestServer;
let processes: ServerProcess[];
let folder: string;
let addresses: Record<'punctual' | 'ahead' | 'behind', string>;
let environment: Record<string, string>;
let scope: string;
let resource: string;
beforeAll(async () => {
  punctual = await startTestServer();
  folder = mkdtempSync(join(tmpdir(), 'tessera-clocks-'));
  environment = {
    NODE_ENV: 'test',
    ISSUER: punctual.issuer,
    DATABASE_URL: punctual.databaseUrl,
    KEY_ENCRYPTION_KEY: punctual.keyEncryptionKey,
  };
  const api = await createTestApi(punctual.domains, { tokenFormat: 'jwt', signingAlgorithm: 'ES256' });
  scope = api.scopes[0]?.scope ?? '';
  resource = api.identifier;
  const start = (shiftMs: number) =>
    startServerProcess({ dataDirectory: folder, environment: { ...environment, ...shiftedClock(shiftMs) } });
  const [ahead, behind] = await Promise.all([start(APART_MS), start(-APART_MS)]);
  processes = [ahead, behind];
  await Promise.all(processes.map((one) => one.ready()));
  addresses = { punctual: punctual.address, ahead: ahead.address, behind: behind.address };
});
afterAll(async () => {
  await Promise.all(processes.map((one) => one.dispose()));
  await punctual.close();
  rmSync(folder, { recursive: true });
});

const everywhere = () => Object.values(addresses);

async function registerClient() {
  const client = await createTestClient(punctual.domains, {
    metadata: {
      scope: `openid offline_access ${scope}`,
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    },
  });
  for (const address of everywhere()) {
    await until(
      'the client is known',
      async () => (await clientCredentials(address, client, { scope })).status === 200,
    );
  }
  return client;
}

type Client = Awaited<ReturnType<typeof registerClient>>;

async function expectEverywhere(client: Client, token: string, isAlive: boolean): Promise<void> {
  for (const address of everywhere()) {
    await until(
      `it is ${isAlive ? 'alive' : 'dead'} at ${address}`,
      async () => (await isActive(address, client, token)) === isAlive,
      isAlive ? 0 : SEEN_WITHIN_MS,
    );
  }
}

test('the nodes’ clocks are a minute apart', async () => {
  const client = await registerClient();
  const [ahead, behind] = await Promise.all(
    [addresses.ahead, addresses.behind].map(async (address) =>
      decodeJwt(await serviceToken(address, client, { scope })),
    ),
  );
  expect((ahead?.iat ?? 0) - (behind?.iat ?? 0)).toBeGreaterThanOrEqual((2 * APART_MS) / 1_000 - 5);
});

const PAIRS = (['punctual', 'ahead', 'behind'] as const).flatMap((issuing) =>
  (['punctual', 'ahead', 'behind'] as const).map((revoking) => [issuing, revoking] as const),
);

test.each(PAIRS)(
  'a JWT of the node that is %s, revoked at the one that is %s, is dead on all, and no other is',
  async (issuing, revoking) => {
    const client = await registerClient();
    const [token, other] = [
      await serviceToken(addresses[issuing], client, { scope }),
      await serviceToken(addresses[issuing], client, { scope }),
    ];
    expect((await revoke(addresses[revoking], client, token)).status).toBe(200);
    await expectEverywhere(client, token, false);
    await expectEverywhere(client, other, true);
  },
);

test.each(PAIRS)(
  'a person’s JWT of the node that is %s, revoked at the one that is %s, takes its grant along',
  async (issuing, revoking) => {
    const client = await registerClient();
    const { login } = await createTestAccount(punctual.domains);
    const parameters = { scope: `openid offline_access ${scope}`, resource, prompt: 'consent' };
    // Pages lead to the issuer, whose clock is right; what is asked by programs goes to any node.
    const signIn = async () => {
      const { code, verifier } = await codeFor(punctual.address, client, { login, password: PASSWORD }, { parameters });
      return (await redeem(addresses[issuing], client, code, verifier)).body;
    };
    const [tokens, elsewhere] = [await signIn(), await signIn()];
    const { body } = await refresh(addresses[issuing], client, String(tokens.refresh_token), { resource });
    await expectEverywhere(client, String(body.access_token), true);
    expect((await revoke(addresses[revoking], client, String(body.access_token))).status).toBe(200);
    await expectEverywhere(client, String(body.access_token), false);
    await expectEverywhere(client, String(tokens.access_token), false);
    await expectEverywhere(client, String(elsewhere.access_token), true);
  },
);

test.each([
  ['ahead', APART_MS],
  ['behind', -APART_MS],
])(
  'all of a client is ended by a command whose clock is %s: what was issued is dead on all, what is issued now lives',
  async (_which, shiftMs) => {
    const tessera = createCommandLine({ ...environment, ...shiftedClock(shiftMs) });
    const client = await registerClient();
    const issue = () => Promise.all(everywhere().map((address) => serviceToken(address, client, { scope })));
    const before = await issue();
    await tessera.json(['token', 'revoke', '--client', client.id]);
    for (const token of before) await expectEverywhere(client, token, false);
    for (const token of await issue()) await expectEverywhere(client, token, true);
  },
);
