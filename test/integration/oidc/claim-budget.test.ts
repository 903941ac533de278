import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SIGNING_ALGORITHMS } from '../../../src/config/index.ts';
import {
  createServiceClient,
  createTestAccount,
  createTestApi,
  createTestClient,
  type TestClient,
} from '../../harness/factories.ts';
import { codeFor, signInForTokens } from '../../harness/flows.ts';
import { recordingLogger } from '../../harness/loggers.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import {
  clientCredentials,
  introspect,
  isActive,
  redeem,
  refresh,
  serviceToken,
} from '../../harness/token-requests.ts';
import { until } from '../../harness/until.ts';

const { logger, lines } = recordingLogger();
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ logger });
});
afterAll(() => server.close());

const roles = (count: number) => Array.from({ length: count }, (_, index) => `${index}-`.padEnd(64, 'r'));
/** Fifty of the longest do not fit; twenty do. */
const [tooMany, enough] = [roles(50), roles(20)];
const refusal = {
  status: 500,
  body: {
    error: 'server_error',
    error_description: expect.stringMatching(
      /^the access token would have \d{4} bytes, more than the 4096 .*: ask for fewer scopes, take roles away, or have the API registered for opaque tokens$/,
    ),
  },
};

async function service(given: string[], tokenFormat: 'jwt' | 'opaque' = 'jwt') {
  const api = await createTestApi(server.domains, { tokenFormat });
  const client = await createServiceClient(server.domains, api.scopes[0]?.scope ?? '', { roles: given });
  return { api, client };
}

/** What was recorded as issued to a client. */
async function issuedTo({ id }: TestClient): Promise<string[]> {
  await server.domains.audit.flush();
  const records = await server.domains.audit.tail({ limit: 1_000, types: ['token.issued', 'token.refreshed'] });
  return records.filter(({ clientId }) => clientId === id).map(({ type }) => type);
}

describe('a JWT that is too large', () => {
  test('by its roles is refused with what to do about it, and is never issued', async () => {
    const { client } = await service(tooMany);
    expect(await clientCredentials(server.issuer, client)).toMatchObject(refusal);
    expect(await issuedTo(client)).toEqual([]);
    await server.domains.clients.update(client.id, { roles: enough });
    expect((await clientCredentials(server.issuer, client)).status).toBe(200);
    expect(await issuedTo(client)).toEqual(['token.issued']);
  });

  test('by its scopes is refused, and fits where fewer are asked for', async () => {
    const scopes = Array.from({ length: 40 }, (_, index) => `scope:${index}:`.padEnd(100, 's'));
    await createTestApi(server.domains, { tokenFormat: 'jwt', scopes });
    const client = await createServiceClient(server.domains, scopes.join(' '));
    expect(await clientCredentials(server.issuer, client)).toMatchObject(refusal);
    const few = scopes.slice(0, 5).join(' ');
    expect(await clientCredentials(server.issuer, client, { scope: few })).toMatchObject({
      status: 200,
      body: { scope: few },
    });
  });

  test('is a fault in the log, which names client, API and size, and none of the claims', async () => {
    const { api, client } = await service(tooMany);
    await clientCredentials(server.issuer, client);
    const line = await until('it is logged', () => lines.find(({ clientId }) => clientId === client.id));
    expect(line).toMatchObject({ level: 50, status: 500, error: 'server_error', endpoint: 'token' });
    const logged = JSON.stringify(line);
    expect(logged).toContain(`a JWT for client ${client.id} and API ${api.identifier} would have `);
    expect(logged).toMatch(/would have \d{4} bytes, over 4096/);
    expect(logged).not.toContain(tooMany[7]);
  });

  test('is nothing where tokens are opaque: these are short, whatever they stand for', async () => {
    const { client } = await service(tooMany, 'opaque');
    const token = await serviceToken(server.issuer, client);
    expect((await introspect(server.issuer, client, token)).body).toMatchObject({ active: true, roles: tooMany });
  });

  test.each([
    ['confidential', 'client_secret_basic'],
    ['public', 'none'],
  ] as const)(
    'of a person who uses a %s client is refused at the code and at a refresh, which may be tried again',
    async (_kind, method) => {
      const api = await createTestApi(server.domains, { tokenFormat: 'jwt' });
      const scope = `openid offline_access ${api.scopes[0]?.scope}`;
      const client = await createTestClient(server.domains, {
        metadata: { scope, token_endpoint_auth_method: method },
      });
      const person = await createTestAccount(server.domains);
      const resource = api.identifier;
      const parameters = { scope, resource, prompt: 'consent' };
      const setRoles = (given: string[]) => server.domains.accounts.setRoles(person.account.id, given);
      await setRoles(tooMany);
      const { code, verifier } = await codeFor(server.issuer, client, person, { parameters });
      expect(await redeem(server.issuer, client, code, verifier, { resource })).toMatchObject(refusal);
      expect(await issuedTo(client)).toEqual([]);

      await setRoles(enough);
      const tokens = await signInForTokens(server.issuer, client, person, { parameters, redemption: { resource } });
      await setRoles(tooMany);
      expect(await refresh(server.issuer, client, tokens.refresh_token, { resource })).toMatchObject(refusal);
      await setRoles([]);
      const { status, body } = await refresh(server.issuer, client, tokens.refresh_token, { resource });
      expect(status).toBe(200);
      expect(await isActive(server.issuer, client, String(body.access_token))).toBe(true);
    },
  );
});

test.each(SIGNING_ALGORITHMS)('the size of a token by %s is known to the byte before it is signed', async (alg) => {
  const environment = { SIGNING_ALGORITHMS: [...new Set(['RS256', alg])].join(',') };
  const first = await startTestServer({ environment });
  try {
    const api = await createTestApi(first.domains, { tokenFormat: 'jwt', signingAlgorithm: alg });
    const client = await createServiceClient(first.domains, api.scopes[0]?.scope ?? '', { roles: enough });
    const { length } = await serviceToken(first.issuer, client);
    for (const [most, status] of [
      [length, 200],
      [length - 1, 500],
    ] as const) {
      const node = await startTestServer({
        node: first,
        environment: { ...environment, ISSUER: first.issuer, ACCESS_TOKEN_MAX_BYTES: String(most) },
      });
      try {
        expect(await clientCredentials(node.address, client)).toMatchObject({ status });
      } finally {
        await node.close();
      }
    }
  } finally {
    await first.close();
  }
});
