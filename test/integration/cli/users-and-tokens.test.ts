import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ArtifactKind } from '../../../src/tokens/index.ts';
import { createTestClient } from '../../harness/factories.ts';
import { openShared } from './command-line.ts';

let tessera: Awaited<ReturnType<typeof openShared>>;
beforeAll(async () => {
  tessera = await openShared();
});
afterAll(() => tessera.close());

const PASSWORD = 'correct horse battery staple';

async function createAccount() {
  const created = await tessera.domains.accounts.create({ email: `${randomUUID()}@example.com`, password: PASSWORD });
  if (!created.ok) throw new Error(created.reason);
  return created.account;
}

/** A session, a grant and its two tokens. */
async function signIn(
  accountId: string,
): Promise<{ accessToken: string; refreshToken: string; grantId: string; alive(): Promise<ArtifactKind[]> }> {
  const { artifacts } = tessera.domains;
  const [sessionId, grantId, accessToken, refreshToken] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  const clientId = 'some-app';
  await artifacts.upsert('Session', sessionId, { accountId, uid: randomUUID() }, 60);
  await artifacts.upsert('Grant', grantId, { accountId, clientId }, 60);
  await artifacts.upsert('AccessToken', accessToken, { accountId, clientId, grantId }, 60);
  await artifacts.upsert('RefreshToken', refreshToken, { accountId, clientId, grantId }, 60);
  const held: [ArtifactKind, string][] = [
    ['Session', sessionId],
    ['Grant', grantId],
    ['AccessToken', accessToken],
    ['RefreshToken', refreshToken],
  ];
  const alive = async () => {
    const found = await Promise.all(held.map(([kind, id]) => artifacts.find(kind, id)));
    return held.map(([kind]) => kind).filter((_, index) => found[index] !== undefined);
  };
  return { accessToken, refreshToken, grantId, alive };
}

test('a person is created with a password from standard input, and found by address, user name and id', async () => {
  const email = `${randomUUID()}@Example.com`;
  const username = `u${randomUUID()}`;
  const create = ['user', 'create', '--email', email, '--username', username, '--name', 'Ada Lovelace', '--verified'];
  const created = await tessera.json([...create, '--password-stdin'], `${PASSWORD}\n`);
  expect(created).toMatchObject({ email, email_verified: true, username, name: 'Ada Lovelace', disabled: false });
  expect(await tessera.domains.accounts.authenticate(email, PASSWORD)).toMatchObject({ ok: true });
  expect(await tessera.json(['user', 'show', email.toLowerCase()])).toEqual(created);
  expect(await tessera.json(['user', 'show', username])).toEqual(created);
  expect(await tessera.json(['user', 'show', String(created.id)])).toEqual(created);
  expect(await tessera.json(['user', 'list'])).toContainEqual(created);

  expect(await tessera.run([...create, '--password-stdin', '--json'], { input: PASSWORD })).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: 'error: email belongs to another account\n',
  });
  expect(await tessera.run(create)).toMatchObject({
    exitCode: 2,
    stderr: "error: required option '--password-stdin' not specified\n",
  });
});

test('a person’s roles are given, set in the place of those before, and taken away', async () => {
  const email = `${randomUUID()}@example.com`;
  const create = ['user', 'create', '--email', email, '--role', 'admin', '--role', 'auditor', '--password-stdin'];
  const { id, roles } = await tessera.json(create, `${PASSWORD}\n`);
  expect(roles).toEqual(['admin', 'auditor']);
  expect(await tessera.json(['user', 'set-roles', email, '--role', 'reader'])).toMatchObject({ id, roles: ['reader'] });
  expect(await tessera.json(['user', 'show', email])).toMatchObject({ roles: ['reader'] });
  expect(await tessera.json(['user', 'set-roles', email])).toMatchObject({ id, roles: [] });
  expect(await tessera.run(['user', 'set-roles', email, '--role', 'site admin'])).toMatchObject({
    exitCode: 1,
    stdout: '',
    stderr: expect.stringMatching(/^error: roles wants roles of 1 to 64 printable ASCII characters/),
  });
  const events = await tessera.domains.audit.tail({ limit: 100, types: ['account.roles_set'] });
  expect(
    events.filter(({ accountId }) => accountId === id).map(({ details, actor }) => [details.roles, actor]),
  ).toEqual(
    expect.arrayContaining([
      [['admin', 'auditor'], { kind: 'operator' }],
      [['reader'], { kind: 'operator' }],
      [[], { kind: 'operator' }],
    ]),
  );
});

test('a person whose password was set anew is signed out everywhere', async () => {
  const account = await createAccount();
  const held = await signIn(account.id);
  expect(await held.alive()).toHaveLength(4);
  const set = ['user', 'set-password', account.email, '--password-stdin'];
  expect(await tessera.json(set, 'another good password\n')).toMatchObject({ id: account.id, revoked: 4 });
  expect(await tessera.domains.accounts.authenticate(account.email, 'another good password')).toMatchObject({
    ok: true,
  });
  expect(await held.alive()).toEqual([]);
});

test('a person who is disabled loses what they hold, and one who is enabled gets none of it back', async () => {
  const account = await createAccount();
  const held = await signIn(account.id);
  expect(await tessera.json(['user', 'disable', account.id])).toMatchObject({ disabled: true, revoked: 4 });
  expect(await tessera.json(['user', 'enable', account.id])).toMatchObject({ disabled: false });
  expect(await held.alive()).toEqual([]);
  const recorded = (await tessera.domains.audit.tail({ limit: 100 })).filter(
    ({ accountId }) => accountId === account.id,
  );
  expect(recorded.map(({ type, actor }) => [type, actor?.kind])).toEqual([
    ['account.created', 'system'],
    ['account.disabled', 'operator'],
    ['grant.revoked', 'operator'],
    ['session.ended', 'operator'],
    ['account.enabled', 'operator'],
  ]);
});

test('a person who is deleted takes everything along', async () => {
  const account = await createAccount();
  const held = await signIn(account.id);
  const expected = { id: account.id, email: account.email, deleted: true, revoked: 4 };
  expect(await tessera.json(['user', 'delete', account.email])).toEqual(expected);
  expect(await held.alive()).toEqual([]);
  const shown = await tessera.run(['user', 'show', account.email]);
  expect(shown).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/^error: no account .*\n$/) });
});

test('a token of a person is revoked with its grant, one of a client alone, and what revoked them is recorded', async () => {
  const account = await createAccount();
  const [byAccess, byRefresh, other] = [await signIn(account.id), await signIn(account.id), await signIn(account.id)];
  expect(await tessera.json(['token', 'revoke', byAccess.accessToken])).toEqual({ revoked: 3 });
  expect(await byAccess.alive()).toEqual(['Session']);
  expect(await tessera.json(['token', 'revoke', '-'], `${byRefresh.refreshToken}\n`)).toEqual({ revoked: 3 });
  expect(await byRefresh.alive()).toEqual(['Session']);
  expect(await other.alive()).toHaveLength(4);
  const recorded = await tessera.domains.audit.tail({ limit: 4 });
  expect(recorded.map(({ type, details }) => [type, details.kind ?? details.grantId])).toEqual([
    ['token.revoked', 'access'],
    ['grant.revoked', byAccess.grantId],
    ['token.revoked', 'refresh'],
    ['grant.revoked', byRefresh.grantId],
  ]);

  const { artifacts } = tessera.domains;
  const { id: clientId } = await createTestClient(tessera.domains);
  const [one, two] = [randomUUID(), randomUUID()];
  await artifacts.upsert('ClientCredentials', one, { clientId }, 60);
  await artifacts.upsert('ClientCredentials', two, { clientId }, 60);
  expect(await tessera.json(['token', 'revoke', one])).toEqual({ revoked: 1 });
  expect(await artifacts.find('ClientCredentials', two)).toBeDefined();
  expect(await tessera.json(['token', 'revoke', '--client', clientId])).toEqual({ revoked: 1 });
});

test('all of a grant and all of an account are revoked at once', async () => {
  const account = await createAccount();
  const [first, second] = [await signIn(account.id), await signIn(account.id)];
  expect(await tessera.json(['token', 'revoke', '--grant', first.grantId])).toEqual({ revoked: 3 });
  expect(await second.alive()).toHaveLength(4);
  const ended = { exitCode: 0, stdout: '5 sessions, grants and tokens ended\n', stderr: '' };
  expect(await tessera.run(['token', 'revoke', '--account', account.email])).toEqual(ended);
  expect(await second.alive()).toEqual([]);
});

test('what can not be revoked is said, and never pretended', async () => {
  const [unknown, both, nobody, nothing] = await Promise.all([
    tessera.run(['token', 'revoke', randomUUID(), '--json']),
    tessera.run(['token', 'revoke', randomUUID(), '--client', 'machine']),
    tessera.run(['token', 'revoke', '--client', 'no-such-client']),
    tessera.run(['token', 'revoke', '--grant', randomUUID()]),
  ]);
  expect(unknown).toEqual({ exitCode: 1, stdout: '', stderr: expect.stringMatching(/^error: no such token.*\n$/) });
  expect(both).toEqual({ exitCode: 2, stdout: '', stderr: expect.stringMatching(/^error: name one thing.*\n$/) });
  expect(nobody).toEqual({ exitCode: 1, stdout: '', stderr: expect.stringMatching(/^error: no client.*\n$/) });
  expect(nothing).toEqual({ exitCode: 1, stdout: '', stderr: expect.stringMatching(/^error: no grant.*\n$/) });
  const { audit, database } = tessera.domains;
  const events = await audit.tail({ limit: 100, types: ['grant.revoked'] });
  expect(events.filter(({ clientId }) => clientId === 'no-such-client')).toEqual([]);
  expect(await database.knex('revocations').where({ value: 'no-such-client' })).toEqual([]);
});

test('what a person allowed is forgotten with the grants that hang on it', async () => {
  const { artifacts, consents } = tessera.domains;
  const account = await createAccount();
  const { id: clientId } = await createTestClient(tessera.domains);
  const allowed = { scopes: ['openid'], claims: [], resourceScopes: {} };
  const grantId = randomUUID();
  await artifacts.upsert('Grant', grantId, { accountId: account.id, clientId }, 60);
  for (const [what, whose] of [
    ['--grant', grantId],
    ['--account', account.email],
    ['--client', clientId],
  ] as const) {
    await consents.add(account.id, clientId, allowed);
    await tessera.json(['token', 'revoke', what, whose]);
    expect(await consents.find(account.id, clientId)).toBeUndefined();
  }
});

test('a command that finds migrations pending says so and applies none', async () => {
  const { database } = tessera.domains;
  await database.knex('migrations').where('name', '20261124000800_consents.ts').delete();
  try {
    expect(await tessera.run(['user', 'list'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('tessera migrate up'),
    });
    expect(await database.knex('migrations').where('name', '20261124000800_consents.ts')).toEqual([]);
  } finally {
    await database
      .knex('migrations')
      .insert({ name: '20261124000800_consents.ts', batch: 1, migration_time: new Date() });
  }
});
