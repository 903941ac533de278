import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { formatApiKey, generateApiKeySecret } from '../../../src/api-keys/api-key-value.ts';
import { createTestApiKey, type KeySetup, setUpForKeys, type TestApiKey } from '../../harness/api-keys.ts';
import { createTestClient } from '../../harness/factories.ts';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { clientCredentials, introspect, isActive, revoke, serviceToken } from '../../harness/token-requests.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';

/** Keys are ended on the first node, and asked for on both. */
let first: TestServer;
let second: TestServer;
beforeAll(async () => {
  first = await startTestServer();
  second = await startTestServer({ node: first, environment: { ISSUER: first.issuer } });
});
afterAll(async () => {
  await second.close();
  await first.close();
});

type Used = KeySetup & { key: TestApiKey; tokens: string[] };

/** A key that both nodes know, with a token of each node and format. */
async function usedKey(kind: 'account' | 'client' = 'client'): Promise<Used> {
  const setup = await setUpForKeys(first.domains, kind, { tokenFormat: 'jwt' });
  const opaque = await setUpForKeys(first.domains, 'client');
  if (kind === 'client') {
    const scope = [setup.read, setup.write, opaque.read].join(' ');
    const updated = await first.domains.clients.update(setup.ownerId, { metadata: { scope } });
    if (!updated.ok) throw new Error(updated.reason);
  }
  const key = await createTestApiKey(first.domains, {
    owner: setup.owner,
    scopes: [setup.read, opaque.read],
    apis: [setup.api.identifier, opaque.api.identifier],
  });
  const any = await createTestClient(first.domains, { mayIntrospectAny: true });
  await until('the second node knows all of it', async () => {
    const { status } = await clientCredentials(second.address, key, { scope: opaque.read });
    return status === 200 && (await introspect(second.address, any, 'nothing')).status === 200;
  });
  const tokens: string[] = [];
  for (const { address } of [first, second]) {
    for (const scope of [setup.read, opaque.read]) tokens.push(await serviceToken(address, key, { scope }));
  }
  const used = { ...setup, guard: any, key, tokens };
  for (const node of [first, second]) expect(await aliveAt(node, used)).toHaveLength(1 + tokens.length);
  return used;
}

/** What a node takes for alive of the key and its tokens. */
async function aliveAt(node: TestServer, { guard, key, tokens }: Used): Promise<string[]> {
  const values = [key.key, ...tokens];
  const answers = await Promise.all(values.map((value) => isActive(node.address, guard, value)));
  return values.filter((_, index) => answers[index]);
}

async function expectDeadAtBoth(used: Used): Promise<void> {
  expect(await aliveAt(first, used)).toEqual([]);
  await until('all is dead', async () => (await aliveAt(second, used)).length === 0, SEEN_WITHIN_MS);
  for (const { address } of [first, second]) {
    expect((await clientCredentials(address, used.key)).body.error).toBe('invalid_client');
  }
}

describe('within a second every node takes for dead, with the tokens got by it,', () => {
  test.each<[string, 'account' | 'client', (used: Used) => Promise<unknown>]>([
    ['a key that was revoked', 'client', ({ key }) => first.domains.apiKeys.revoke(key.apiKey.id)],
    ['a key that was disabled', 'client', ({ key }) => first.domains.apiKeys.disable(key.apiKey.id)],
    ['a key whose account was disabled', 'account', ({ ownerId }) => first.domains.accounts.disable(ownerId)],
    ['a key whose account was deleted', 'account', ({ ownerId }) => first.domains.accounts.delete(ownerId)],
    ['a key whose client was deleted', 'client', ({ ownerId }) => first.domains.clients.delete(ownerId)],
    [
      'a key that its owner revokes by its value',
      'client',
      ({ key, service }) => revoke(first.address, service, key.key),
    ],
    ['a key that revokes itself', 'account', ({ key }) => revoke(first.address, key, key.key)],
  ])('%s', async (_, kind, end) => {
    const used = await usedKey(kind);
    await end(used);
    await expectDeadAtBoth(used);
  });

  test('the tokens that say more than the shrunk owner has', async () => {
    const used = await usedKey();
    await first.domains.clients.update(used.ownerId, { metadata: { scope: used.write } });
    const tokensAt = async (node: TestServer) => {
      const alive = await aliveAt(node, used);
      return alive.filter((value) => value !== used.key.key).length;
    };
    for (const node of [first, second]) {
      await until('no token is left', async () => (await tokensAt(node)) === 0, SEEN_WITHIN_MS);
    }
  });

  test('the tokens of all keys of an owner whose access was ended, while the keys get new ones', async () => {
    for (const kind of ['account', 'client'] as const) {
      const used = await usedKey(kind);
      await first.domains.endAccess(kind === 'account' ? { accountId: used.ownerId } : { clientId: used.ownerId });
      for (const node of [first, second]) {
        const onlyKey = async () => (await aliveAt(node, used)).join() === used.key.key;
        await until('only the key lives', onlyKey, SEEN_WITHIN_MS);
      }
      const anew = await serviceToken(second.address, used.key, { scope: used.read });
      expect(await isActive(first.address, used.guard, anew)).toBe(true);
    }
  });
});

describe('at /revoke', () => {
  test('a key is revoked for good and durably, and the trail says by whom', async () => {
    const { key, service } = await usedKey();
    expect(await revoke(first.address, service, key.key)).toMatchObject({ status: 200, body: {} });
    expect((await first.domains.apiKeys.show(key.apiKey.id))?.revokedAt).toBeInstanceOf(Date);
    expect((await revoke(first.address, service, key.key)).status).toBe(200);
    const events = await first.domains.database
      .knex('audit_events')
      .where({ type: 'api_key.revoked' })
      .whereRaw("details->>'apiKeyId' = ?", [key.id])
      .select('actor_kind', 'actor_id', 'client_id', 'address');
    expect(events).toEqual([
      { actor_kind: 'client', actor_id: service.id, client_id: service.id, address: expect.any(String) },
    ]);
  });

  test('only the key itself and its owner may; others are told, and nothing happens', async () => {
    const used = await usedKey();
    const answer = await revoke(first.address, used.guard, used.key.key);
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    expect(await aliveAt(first, used)).toHaveLength(1 + used.tokens.length);
  });

  test('what is no living key is answered with 200 (RFC 7009, section 2.2)', async () => {
    const { key, service, read } = await usedKey();
    const { id } = key.apiKey;
    const guessed = formatApiKey({ id, secret: generateApiKeySecret(id) });
    for (const value of [guessed, key.id, `${key.key}x`]) {
      expect((await revoke(first.address, service, value)).status).toBe(200);
    }
    expect((await clientCredentials(first.address, key, { scope: read })).status).toBe(200);
  });

  test('an owner who does not authenticate revokes nothing', async () => {
    const { key, service, read } = await usedKey();
    expect((await revoke(first.address, { id: service.id, secret: 'wrong' }, key.key)).status).toBe(401);
    expect((await clientCredentials(first.address, key, { scope: read })).status).toBe(200);
  });

  test('a token of a key is revoked by the key, alone', async () => {
    const used = await usedKey();
    const [jwt = '', opaque = ''] = used.tokens;
    for (const token of [jwt, opaque]) {
      expect((await revoke(first.address, used.guard, token)).status).toBe(400);
      expect((await revoke(first.address, used.key, token)).status).toBe(200);
    }
    expect(await aliveAt(first, used)).toEqual([used.key.key, ...used.tokens.slice(2)]);
  });
});

test('a request for a token that is under way when its key is revoked leaves nothing alive', async () => {
  const used = await usedKey();
  const asked = Array.from({ length: 20 }, (_, index) =>
    clientCredentials(index % 2 === 0 ? first.address : second.address, used.key, { scope: used.read }),
  );
  await first.domains.apiKeys.revoke(used.key.apiKey.id);
  const answers = await Promise.all(asked);
  const tokens = answers.flatMap(({ body }) => (typeof body.access_token === 'string' ? [body.access_token] : []));
  await expectDeadAtBoth({ ...used, tokens });
});
