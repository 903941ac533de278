import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { AccountPatch } from '../../../src/accounts/accounts.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { createOne, makeAccounts, password, uniqueEmail } from './accounts-fixture.ts';

let testDatabase: TestDatabase;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
});
afterAll(() => testDatabase.close());

describe('creating an account', () => {
  test('keeps everything given, under a random id', async () => {
    const { accounts, entries } = makeAccounts(testDatabase, { clock: () => 1_700_000_000_000 });
    const email = uniqueEmail();
    const profile = { name: 'Ada', birthdate: '1815-12-10', address: { country: 'UK' } };
    const created = await createOne(accounts, { email, isEmailVerified: true, isDemo: true, profile });
    expect(created).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      email,
      isEmailVerified: true,
      username: undefined,
      isDisabled: false,
      isDemo: true,
      profile,
      roles: [],
      createdAt: new Date(1_700_000_000_000),
      updatedAt: new Date(1_700_000_000_000),
    });
    expect(await accounts.find(created.id)).toEqual(created);
    expect(entries).toEqual([{ action: 'created', accountId: created.id }]);
  });

  test('keeps roles, each once, and has them recorded apart', async () => {
    const { accounts, entries } = makeAccounts(testDatabase);
    const { id, roles } = await createOne(accounts, { roles: ['admin', 'urn:example:auditor', 'admin'] });
    expect(roles).toEqual(['admin', 'urn:example:auditor']);
    expect((await accounts.find(id))?.roles).toEqual(roles);
    expect(entries).toEqual([
      { action: 'created', accountId: id },
      { action: 'roles_set', accountId: id, roles },
    ]);
  });

  test.each([
    ['with a space', ['site admin']],
    ['with a quotation mark', ['"admin"']],
    ['beyond ASCII', ['администратор']],
    ['that are empty', ['']],
    ['of more than 64 characters', ['x'.repeat(65)]],
    ['that are more than 50', Array.from({ length: 51 }, (_, index) => `role-${index}`)],
  ])('refuses roles %s', async (_what, roles) => {
    const { accounts } = makeAccounts(testDatabase);
    const refusal = { ok: false, code: 'invalid', field: 'roles', reason: expect.stringMatching(/^wants .*roles/) };
    const email = uniqueEmail();
    expect(await accounts.create({ email, password, roles })).toEqual(refusal);
    expect(await accounts.findByLogin(email)).toBeUndefined();
    const { id } = await createOne(accounts, { roles: ['admin'] });
    expect(await accounts.setRoles(id, roles)).toEqual(refusal);
    expect((await accounts.find(id))?.roles).toEqual(['admin']);
  });

  test('stores no password', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const { id } = await createOne(accounts);
    const row = await testDatabase.database.knex('accounts').where({ id }).first();
    expect(JSON.stringify(row)).not.toContain(password);
    expect(row.password_hash).toMatch(/^\$argon2id\$/);
  });

  test('an e-mail address and a user name belong to one account, in whatever case', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const username = `ada${randomBytes(6).toString('hex')}`;
    const { email } = await createOne(accounts, { username });
    expect(await accounts.create({ email: email.toLowerCase(), password })).toEqual({
      ok: false,
      code: 'conflict',
      field: 'email',
      reason: 'belongs to another account',
    });
    expect(await accounts.create({ email: uniqueEmail(), username: username.toUpperCase(), password })).toMatchObject({
      code: 'conflict',
      field: 'username',
    });
  });

  test('of many at once for one address, one succeeds', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const email = uniqueEmail();
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        accounts.create({ email: index % 2 ? email.toUpperCase() : email, password }),
      ),
    );
    expect(results.filter((result) => result.ok)).toHaveLength(1);
  });

  test.each([
    [{ email: 'nobody' }, 'email'],
    [{ username: 'a@b' }, 'username'],
    [{ password: 'short' }, 'password'],
    [{ profile: { birthdate: 'yesterday' } }, 'profile.birthdate'],
    [{ profile: { address: { country: '' } } }, 'profile.address.country'],
  ])('%j is refused, naming the field', async (input, field) => {
    const { accounts, entries, computations } = makeAccounts(testDatabase);
    expect(await accounts.create({ email: uniqueEmail(), password, ...input })).toMatchObject({
      ok: false,
      code: 'invalid',
      field,
      reason: expect.stringMatching(/^wants /),
    });
    expect({ entries, computations }).toEqual({ entries: [], computations: [] });
  });
});

describe('changing an account', () => {
  test('a new password replaces the old one', async () => {
    const { accounts, entries } = makeAccounts(testDatabase);
    const { id, email } = await createOne(accounts);
    expect(await accounts.setPassword(id, 'tiny')).toMatchObject({ ok: false, code: 'invalid', field: 'password' });
    expect(await accounts.setPassword(id, 'another horse entirely')).toMatchObject({ ok: true });
    expect(await accounts.authenticate(email, password)).toMatchObject({ ok: false });
    expect(await accounts.authenticate(email, 'another horse entirely')).toMatchObject({ ok: true });
    expect(entries.map((entry) => entry.action)).toEqual(['created', 'password_set']);
  });

  test('what a patch leaves out stays, null removes', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const username = `ada${randomBytes(6).toString('hex')}`;
    const { id, email } = await createOne(accounts, { username, profile: { name: 'Ada', locale: 'en' } });
    expect(
      await accounts.update(id, { username: null, profile: { locale: null, name: undefined, gender: 'female' } }),
    ).toMatchObject({ ok: true, account: { email, username: undefined, profile: { name: 'Ada', gender: 'female' } } });
    expect((await accounts.find(id))?.profile).toEqual({ name: 'Ada', gender: 'female' });
    expect(await accounts.findByLogin(username)).toBeUndefined();
  });

  test('a new e-mail address or phone number is unverified unless the patch says so', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const phone = { phoneNumber: '+1 425 555 1212', isPhoneNumberVerified: true };
    const { id, email } = await createOne(accounts, { isEmailVerified: true, profile: phone });
    async function verifiedAfter(patch: AccountPatch) {
      const result = await accounts.update(id, patch);
      if (!result.ok) throw new Error(result.reason);
      return [result.account.isEmailVerified, result.account.profile.isPhoneNumberVerified];
    }
    expect(await verifiedAfter({ email: email.toUpperCase(), profile: { name: 'Ada' } })).toEqual([true, true]);
    expect(await verifiedAfter({ email: uniqueEmail(), profile: { phoneNumber: '+1 425 555 1213' } })).toEqual([
      false,
      undefined,
    ]);
    expect(
      await verifiedAfter({
        email: uniqueEmail(),
        isEmailVerified: true,
        profile: { phoneNumber: '+1 425 555 1214', isPhoneNumberVerified: true },
      }),
    ).toEqual([true, true]);
    expect(await verifiedAfter({ profile: { phoneNumber: null } })).toEqual([true, undefined]);
  });

  test('what is taken or not valid is refused, and nothing changes', async () => {
    const { accounts, entries } = makeAccounts(testDatabase);
    const taken = await createOne(accounts);
    const account = await createOne(accounts);
    entries.length = 0;
    expect(await accounts.update(account.id, { email: taken.email })).toMatchObject({
      code: 'conflict',
      field: 'email',
    });
    const profile = { shoeSize: 39 } as AccountPatch['profile'];
    expect(await accounts.update(account.id, { profile })).toEqual({
      ok: false,
      code: 'invalid',
      field: 'profile.shoeSize',
      reason: 'is not known',
    });
    expect(entries).toEqual([]);
    expect(await accounts.find(account.id)).toEqual(account);
  });

  test('patches at once lose nothing of one another', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const { id } = await createOne(accounts);
    await Promise.all([
      accounts.update(id, { profile: { name: 'Ada' } }),
      accounts.update(id, { profile: { gender: 'female' } }),
      accounts.update(id, { profile: { locale: 'en' } }),
    ]);
    expect((await accounts.find(id))?.profile).toEqual({ name: 'Ada', gender: 'female', locale: 'en' });
  });

  test('disabled, enabled and deleted are seen at once by the next look-up', async () => {
    const { accounts, entries } = makeAccounts(testDatabase, { clock: () => 0 });
    const { id, email } = await createOne(accounts);
    await accounts.find(id);
    await accounts.disable(id);
    expect((await accounts.find(id))?.isDisabled).toBe(true);
    await accounts.enable(id);
    expect((await accounts.find(id))?.isDisabled).toBe(false);
    expect(await accounts.delete(id)).toMatchObject({ ok: true, account: { id } });
    expect(await accounts.find(id)).toBeUndefined();
    expect(await accounts.authenticate(email, password)).toMatchObject({ ok: false });
    expect(entries.map((entry) => entry.action)).toEqual(['created', 'disabled', 'enabled', 'deleted']);
  });

  test.each(['tsk_0123456789abcdef', 'a-client', 'no\0body', '', randomUUID()])('%j is no account', async (id) => {
    const { accounts, entries } = makeAccounts(testDatabase);
    const refusal = { ok: false, code: 'not_found', field: 'id' };
    expect(await accounts.find(id)).toBeUndefined();
    expect(await accounts.update(id, { isEmailVerified: true })).toMatchObject(refusal);
    expect(await accounts.setPassword(id, password)).toMatchObject(refusal);
    expect(await accounts.setRoles(id, ['admin'])).toMatchObject(refusal);
    expect(await accounts.disable(id)).toMatchObject(refusal);
    expect(await accounts.enable(id)).toMatchObject(refusal);
    expect(await accounts.delete(id)).toMatchObject(refusal);
    expect(entries).toEqual([]);
  });

  test('what can not be recorded does not happen', async () => {
    const { id, email } = await createOne(makeAccounts(testDatabase).accounts);
    const { accounts } = makeAccounts(testDatabase, {
      audit: {
        async accountChanged() {
          throw new Error('audit is full');
        },
      },
    });
    await expect(accounts.disable(id)).rejects.toThrow('audit is full');
    await expect(accounts.delete(id)).rejects.toThrow('audit is full');
    await expect(accounts.setRoles(id, ['admin'])).rejects.toThrow('audit is full');
    await expect(accounts.create({ email: `x${email}`, password })).rejects.toThrow('audit is full');
    expect(await accounts.find(id)).toMatchObject({ isDisabled: false, roles: [] });
    expect(await accounts.findByLogin(`x${email}`)).toBeUndefined();
  });
});

describe('roles', () => {
  test('are set in the place of those before, seen at once, and recorded by name', async () => {
    const { accounts, entries } = makeAccounts(testDatabase);
    const { id } = await createOne(accounts, { roles: ['admin'] });
    expect(await accounts.setRoles(id, ['reader', 'writer'])).toMatchObject({ ok: true });
    expect((await accounts.find(id))?.roles).toEqual(['reader', 'writer']);
    expect(await accounts.setRoles(id, [])).toMatchObject({ ok: true });
    expect((await accounts.find(id))?.roles).toEqual([]);
    expect(entries.slice(2)).toEqual([
      { action: 'roles_set', accountId: id, roles: ['reader', 'writer'] },
      { action: 'roles_set', accountId: id, roles: [] },
    ]);
  });

  test('that are there already are no change, whatever their order', async () => {
    const { accounts, entries } = makeAccounts(testDatabase);
    const { id } = await createOne(accounts, { roles: ['reader', 'writer'] });
    expect(await accounts.setRoles(id, ['writer', 'reader'])).toMatchObject({ ok: true, account: { id } });
    expect(entries).toHaveLength(2);
    expect(await accounts.setRoles(randomUUID(), [])).toMatchObject({ ok: false, code: 'not_found' });
  });

  test('are nothing that a change of details can reach', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const { id } = await createOne(accounts);
    await accounts.update(id, { roles: ['admin'], profile: { roles: ['admin'] } } as never);
    await accounts.update(id, { isEmailVerified: true, roles: ['admin'] } as never);
    expect(await accounts.find(id)).toMatchObject({ isEmailVerified: true, roles: [] });
  });
});
