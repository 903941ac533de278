import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseApiKey, parseApiKeyClientId } from '../../../src/api-keys/index.ts';
import type { Api } from '../../../src/clients/index.ts';
import { createServiceClient, createTestAccount, createTestApi, createTestClient } from '../../harness/factories.ts';
import { SEEN_WITHIN_MS, until } from '../../harness/until.ts';
import { openShared } from './command-line.ts';

let tessera: Awaited<ReturnType<typeof openShared>>;
let api: Api;
let clientId: string;
let scope: string;

beforeAll(async () => {
  tessera = await openShared();
  api = await createTestApi(tessera.domains);
  scope = api.scopes[0]?.scope ?? '';
  clientId = (await createServiceClient(tessera.domains, scope)).id;
});
afterAll(() => tessera.close());

const create = (...more: string[]) => ['api-key', 'create', '--name', 'CI', '--scope', scope, ...more];

async function createKey(...owner: string[]): Promise<{ id: string; key: string }> {
  const made = await tessera.json(create(...(owner.length > 0 ? owner : ['--client', clientId])));
  return { id: String(made.id), key: String(made.key) };
}

/** A stored token that was got with the key. */
async function tokenOf(id: string): Promise<() => Promise<boolean>> {
  const token = randomUUID();
  const { artifacts } = tessera.domains;
  await artifacts.upsert('ClientCredentials', token, { clientId: id }, 60);
  return async () => (await artifacts.find('ClientCredentials', token)) !== undefined;
}

/** As the running server sees it. */
const seenByServer = async (key: string) => {
  const { id = '', secret = '' } = parseApiKey(key) ?? {};
  return (await tessera.domains.apiKeys.verify(id, secret)) && tessera.domains.apiKeys.find(id);
};

describe('tessera api-key create', () => {
  test('makes a key of a client, shows it this once, and a running server knows it', async () => {
    const options = ['--api', api.identifier, '--expires', '2099-01-31T12:00:00+02:00', '--allow', '192.0.2.0/24'];
    const limits = ['--allow', '::1', '--quota', '1000', '--quota-window', '60', '--rate', '7'];
    const made = await tessera.json(create('--client', clientId, ...options, ...limits));
    expect(made).toMatchObject({
      id: expect.stringMatching(/^tsk_[0-9A-Za-z]{16}$/),
      key: expect.stringMatching(/^tsk_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}$/),
      name: 'CI',
      client: clientId,
      scope,
      apis: [api.identifier],
      state: 'live',
      expires_at: '2099-01-31T10:00:00.000Z',
      allowed_addresses: ['192.0.2.0/24', '::1'],
      quota: { requests: 1000, window_seconds: 60 },
      rate_per_second: 7,
    });
    expect(parseApiKey(String(made.key))?.id).toBe(parseApiKeyClientId(String(made.id)));
    await until('the server knows the key', () => seenByServer(String(made.key)), SEEN_WITHIN_MS);
    const shown = await tessera.run(['api-key', 'show', String(made.id)]);
    expect(shown.exitCode).toBe(0);
    expect(shown.stdout).not.toContain(String(made.key).slice(-49, -6));
    const { key, ...known } = made;
    expect(await tessera.json(['api-key', 'show', String(made.id)])).toEqual(known);
  });

  test('makes a key of a person, by a name that they sign in with', async () => {
    const { account, login } = await createTestAccount(tessera.domains);
    const made = await tessera.json(create('--account', login, '--api', api.identifier));
    expect(made).toMatchObject({ account: account.id, apis: [api.identifier] });
  });

  test('for people prints the key once, and says so', async () => {
    const { stdout } = await tessera.run(create('--client', clientId));
    expect(stdout.match(/tsk_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}/g)).toHaveLength(1);
    expect(stdout).toContain('not shown again');
  });

  test.each([
    ['a client that is not there', ['--client', 'nobody'], 1, /^error: no client nobody is registered\n$/],
    ['a person who is not there', ['--account', 'nobody'], 1, /^error: no account .*\n$/],
    ['no owner', [], 2, /^error: name one owner: --client or --account\n$/],
    ['two owners', ['--client', 'a', '--account', 'b'], 2, /^error: name one owner.*\n$/],
    [
      'an expiry without a zone',
      ['--client', 'a', '--expires', '2099-01-31T00:00:00'],
      2,
      /^error: .*time with its zone.*\n$/,
    ],
    [
      'a window without a quota',
      ['--client', 'a', '--quota-window', '60'],
      2,
      /^error: --quota-window wants --quota\n$/,
    ],
  ])('refuses %s in one line', async (_, more, exitCode, stderr) => {
    expect(await tessera.run(create(...more))).toEqual({ exitCode, stdout: '', stderr: expect.stringMatching(stderr) });
  });

  test.each([
    [
      'an expiry that has passed',
      ['--expires', '2020-01-01T00:00:00Z'],
      /^error: expires_at: wants a time in the future\n$/,
    ],
    [
      'a range that is none',
      ['--allow', '10.0.0.0/99'],
      /^error: allowed_addresses: 10\.0\.0\.0\/99 is no address.*\n$/,
    ],
    ['an API that is not there', ['--api', 'urn:none'], /^error: apis: no API urn:none is registered\n$/],
    ['a scope of OpenID Connect', ['--scope', 'openid'], /^error: scopes: .*openid.*\n$/],
  ])('refuses %s in one line', async (_, more, stderr) => {
    expect(await tessera.run(create('--client', clientId, ...more))).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringMatching(stderr),
    });
  });

  test('refuses more than the owner has, and clients that may not use client credentials', async () => {
    const other = await createTestApi(tessera.domains);
    const web = await createTestClient(tessera.domains);
    const beyond = await tessera.run([
      'api-key',
      'create',
      '--name',
      'x',
      '--client',
      clientId,
      '--scope',
      other.scopes[0]?.scope ?? '',
    ]);
    expect(beyond).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(`client ${clientId} does not have`) });
    const wrongKind = await tessera.run(create('--client', web.id));
    expect(wrongKind).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('may not use client_credentials') });
    const { login } = await createTestAccount(tessera.domains);
    const unnamed = await tessera.run(create('--account', login));
    expect(unnamed).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/^error: apis: wants the APIs.*\n$/) });
  });
});

describe('a key', () => {
  test('that is rolled has another secret under its id; the old one dies at once where no overlap is wanted', async () => {
    const { id, key } = await createKey();
    const overlapping = await tessera.json(['api-key', 'roll', id]);
    expect(overlapping).toMatchObject({ id, key: expect.stringMatching(new RegExp(`^${id}_`)) });
    const lives = Date.parse(String(overlapping.previous_secret_until)) - Date.now();
    expect(Math.round(lives / 3_600_000)).toBe(24);
    await until('the new one is known', () => seenByServer(String(overlapping.key)), SEEN_WITHIN_MS);
    expect(await seenByServer(key)).toBeTruthy();
    const last = await tessera.json(['api-key', 'roll', id, '--overlap', '0']);
    expect(last.previous_secret_until).toBeNull();
    await until(
      'the one before it is dead',
      async () => !(await seenByServer(String(overlapping.key))),
      SEEN_WITHIN_MS,
    );
    expect(await seenByServer(String(last.key))).toBeTruthy();
    const { stdout } = await tessera.run(['api-key', 'roll', id]);
    expect(stdout).toMatch(/The secret before it still works until 20\d\d-.*Z: --overlap 0 ends it at once\.\n$/);
  });

  test('that is disabled or revoked ends the tokens that were got with it', async () => {
    const { id, key } = await createKey();
    const first = await tokenOf(id);
    expect(await tessera.json(['api-key', 'disable', id])).toMatchObject({ id, state: 'disabled', revoked: 1 });
    expect(await first()).toBe(false);
    expect(await tessera.json(['api-key', 'enable', id])).toMatchObject({ state: 'live' });
    const second = await tokenOf(id);
    expect(await tessera.json(['api-key', 'revoke', id])).toMatchObject({ state: 'revoked', revoked: 1 });
    expect(await second()).toBe(false);
    const isRevoked = async () => {
      const seen = await seenByServer(key);
      return seen && seen.revokedAt !== undefined;
    };
    await until('the server knows that it is revoked', isRevoked, SEEN_WITHIN_MS);
    expect(await tessera.run(['api-key', 'enable', id])).toMatchObject({
      exitCode: 1,
      stderr: `error: API key ${id} has been revoked\n`,
    });
    const recorded = (await tessera.domains.audit.tail({ limit: 100 })).filter(
      ({ details }) => details.apiKeyId === id,
    );
    expect(recorded.map(({ type, clientId: owner, actor }) => [type, owner, actor?.kind])).toEqual(
      ['created', 'disabled', 'enabled', 'revoked'].map((action) => [`api_key.${action}`, clientId, 'operator']),
    );
  });

  test('keeps its id where all tokens that were got with it are revoked', async () => {
    const { id, key } = await createKey();
    const isAlive = await tokenOf(id);
    expect(await tessera.json(['token', 'revoke', '--client', id])).toEqual({ revoked: 1 });
    expect(await isAlive()).toBe(false);
    expect(await seenByServer(key)).toBeTruthy();
    const none = await tessera.run(['token', 'revoke', '--client', `tsk_${'0'.repeat(16)}`]);
    expect(none).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/^error: no client tsk_0+,.*\n$/) });
  });

  test('that was given whole for its id is not repeated', async () => {
    const { key } = await createKey();
    for (const command of ['show', 'revoke', 'usage']) {
      const { exitCode, stdout, stderr } = await tessera.run(['api-key', command, key]);
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
      expect(stderr).toMatch(/^error: wants the id of a key.*\n$/);
      expect(stderr).not.toContain(key.slice(-49));
    }
    expect(await seenByServer(key)).toBeTruthy();
  });

  test('that was given whole for an owner or a client is not repeated', async () => {
    const { key } = await createKey();
    for (const command of [create('--client', key), ['token', 'revoke', '--client', key]]) {
      const { exitCode, stdout, stderr } = await tessera.run(command);
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
      expect(stderr).toMatch(/^error: of an API key, wants the id alone.*\n$/);
      expect(stderr).not.toContain(key.slice(-49));
    }
  });

  test('that is given as a token to revoke is revoked with its tokens, by its own secret alone, and once', async () => {
    const { id, key } = await createKey();
    const rolled = await tessera.json(['api-key', 'roll', id, '--overlap', '0']);
    const isAlive = await tokenOf(id);
    const noSuch = { exitCode: 1, stdout: '', stderr: expect.stringMatching(/^error: no such token.*\n$/) };
    expect(await tessera.run(['token', 'revoke', '-'], { input: key })).toEqual(noSuch);
    expect(await isAlive()).toBe(true);
    expect(await tessera.json(['api-key', 'show', id])).toMatchObject({ state: 'live' });
    expect(await tessera.json(['token', 'revoke', '-'], `${rolled.key}\n`)).toEqual({ revoked: 2 });
    expect(await isAlive()).toBe(false);
    expect(await tessera.json(['api-key', 'show', id])).toMatchObject({ state: 'revoked' });
    expect(await tessera.run(['token', 'revoke', '-'], { input: String(rolled.key) })).toEqual(noSuch);
    const events = await tessera.domains.audit.tail({ limit: 100, types: ['api_key.revoked'] });
    expect(events.filter(({ details }) => details.apiKeyId === id)).toMatchObject([{ actor: { kind: 'operator' } }]);
  });

  test('that is enabled leaves dead what was got before, whatever had disabled it', async () => {
    const { id } = await createKey();
    const isAlive = await tokenOf(id);
    expect(await tessera.json(['api-key', 'enable', id])).toMatchObject({ state: 'live' });
    expect(await isAlive()).toBe(true);
    await tessera.domains.apiKeys.disable(parseApiKeyClientId(id) ?? '');
    expect(await tessera.json(['api-key', 'enable', id])).toMatchObject({ state: 'live' });
    expect(await isAlive()).toBe(false);
  });

  test('keeps its API from being deleted until it is revoked', async () => {
    const own = await createTestApi(tessera.domains);
    const { login } = await createTestAccount(tessera.domains);
    const ofOwn = ['--account', login, '--api', own.identifier, '--scope', own.scopes[0]?.scope ?? ''];
    const made = await tessera.json(create(...ofOwn));
    const refused = `error: API key ${made.id} is for ${own.identifier}: revoke what names it first\n`;
    expect(await tessera.run(['api', 'delete', own.identifier])).toEqual({ exitCode: 1, stdout: '', stderr: refused });
    await tessera.json(['api-key', 'revoke', String(made.id)]);
    expect(await tessera.json(['api', 'delete', own.identifier])).toMatchObject({ deleted: true });
  });

  test('that is made while its API is deleted leaves either the API or no key', async () => {
    const { account } = await createTestAccount(tessera.domains);
    const owner = { kind: 'account', accountId: account.id } as const;
    for (let round = 0; round < 10; round += 1) {
      const own = await createTestApi(tessera.domains);
      const scopes = own.scopes.map((each) => each.scope);
      const [made, deleted] = await Promise.all([
        tessera.domains.apiKeys.create({ name: 'x', owner, scopes, apis: [own.identifier] }),
        tessera.domains.apis.delete(own.identifier),
      ]);
      expect(made.ok).toBe(!deleted.ok);
    }
  });

  test('that is not there is said', async () => {
    const id = `tsk_${'0'.repeat(16)}`;
    for (const command of ['show', 'roll', 'revoke', 'usage']) {
      const refused = { exitCode: 1, stdout: '', stderr: `error: there is no API key ${id}\n` };
      expect(await tessera.run(['api-key', command, id])).toEqual(refused);
    }
  });
});

test('keys are listed, all or those of an owner', async () => {
  const { login } = await createTestAccount(tessera.domains);
  const { id } = await createKey('--account', login, '--api', api.identifier);
  const own = await tessera.json(['api-key', 'list', '--account', login]);
  expect(own).toMatchObject([{ id }]);
  expect(JSON.stringify(own)).not.toMatch(/tsk_[0-9A-Za-z]{16}_/);
  const all = (await tessera.json(['api-key', 'list'])) as unknown as { id: string }[];
  expect(all.map((each) => each.id)).toContain(id);
  expect(all.length).toBeGreaterThan(1);
});

test('use is reported per day and API, for a key and for an owner', async () => {
  const { id } = await createKey();
  const { apiKeys, clock } = tessera.domains;
  const apiKey = await apiKeys.find(parseApiKeyClientId(id) ?? '');
  for (let i = 0; i < 3; i += 1) if (apiKey) apiKeys.allow(apiKey, { api: api.identifier, address: '192.0.2.1' });
  await apiKeys.flush();
  const day = new Date(clock()).toISOString().slice(0, 10);
  const expected = { day, id, api: api.identifier, requests: 3 };
  expect(await tessera.json(['api-key', 'usage', id])).toEqual([expected]);
  expect(await tessera.json(['api-key', 'usage', id, '--from', '2099-01-01', '--to', '2099-01-02'])).toEqual([]);
  expect(await tessera.json(['api-key', 'usage', '--client', clientId])).toContainEqual(expected);
  expect(await tessera.json(['api-key', 'show', id])).toMatchObject({ last_used_from: '192.0.2.1' });
  const wrong = await tessera.run(['api-key', 'usage', id, '--from', '2026-02-30']);
  expect(wrong).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('It wants a day') });
});

describe('an owner who is deleted', () => {
  test('takes their keys along, and each is recorded', async () => {
    const { account, login } = await createTestAccount(tessera.domains);
    const service = await createServiceClient(tessera.domains, scope);
    const keys = [
      await createKey('--account', login, '--api', api.identifier),
      await createKey('--client', service.id),
    ];
    await tessera.json(['user', 'delete', login]);
    await tessera.json(['client', 'delete', service.id]);
    for (const [index, { id, key }] of keys.entries()) {
      await until('the server knows no such key', async () => !(await seenByServer(key)), SEEN_WITHIN_MS);
      expect(await tessera.run(['api-key', 'show', id])).toMatchObject({ exitCode: 1 });
      const events = (await tessera.domains.audit.tail({ limit: 100 })).filter(
        ({ details }) => details.apiKeyId === id,
      );
      const owner = index === 0 ? { accountId: account.id } : { clientId: service.id };
      expect(events).toMatchObject([
        { type: 'api_key.created', ...owner },
        { type: 'api_key.revoked', ...owner, actor: { kind: 'operator' } },
      ]);
    }
  });

  test('or is disabled, or has all revoked, loses what was got with their keys', async () => {
    const { login } = await createTestAccount(tessera.domains);
    const { id } = await createKey('--account', login, '--api', api.identifier);
    const first = await tokenOf(id);
    expect(await tessera.json(['token', 'revoke', '--account', login])).toEqual({ revoked: 1 });
    expect(await first()).toBe(false);
    const second = await tokenOf(id);
    await tessera.json(['user', 'disable', login]);
    expect(await second()).toBe(false);
    const mine = await createServiceClient(tessera.domains, scope);
    const third = await tokenOf((await createKey('--client', mine.id)).id);
    expect(await tessera.json(['token', 'revoke', '--client', mine.id])).toEqual({ revoked: 1 });
    expect(await third()).toBe(false);
  });
});
