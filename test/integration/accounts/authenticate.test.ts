import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import argon2 from 'argon2';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { createOne, lightParameters, makeAccounts, password, uniqueEmail } from './accounts-fixture.ts';

let testDatabase: TestDatabase;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
});
afterAll(() => testDatabase.close());

async function storedHash(id: string): Promise<string> {
  const row = await testDatabase.database.knex('accounts').where({ id }).first();
  return row.password_hash;
}

describe('signing in', () => {
  test('takes the e-mail address or the user name, in whatever case', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const username = `Ada${randomBytes(6).toString('hex')}`;
    const account = await createOne(accounts, { username });
    for (const login of [
      account.email,
      account.email.toUpperCase(),
      ` ${account.email} `,
      username,
      username.toUpperCase(),
    ]) {
      expect(await accounts.authenticate(login, password)).toEqual({ ok: true, account });
      expect(await accounts.findByLogin(login)).toEqual(account);
    }
  });

  test('takes the password in whatever composition', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const { email } = await createOne(accounts, { password: 'caf\u00e9-au-lait' });
    expect(await accounts.authenticate(email, 'cafe\u0301-au-lait')).toMatchObject({ ok: true });
  });

  test('unknown, wrong and disabled have the same answer for the same one computation', async () => {
    const { accounts, computations } = makeAccounts(testDatabase);
    const known = await createOne(accounts);
    const disabled = await createOne(accounts);
    await accounts.disable(disabled.id);
    const attempts = [
      [uniqueEmail(), password, 'unknown_account', undefined],
      ['nobody', password, 'unknown_account', undefined],
      ['no\0body', password, 'unknown_account', undefined],
      ['\u212Aurt', password, 'unknown_account', undefined],
      ['', password, 'unknown_account', undefined],
      [known.email, 'wrong horse battery', 'wrong_password', known.id],
      [disabled.email, password, 'account_disabled', disabled.id],
      [disabled.email, 'wrong horse battery', 'account_disabled', disabled.id],
    ] as const;
    for (const [login, given, reason, accountId] of attempts) {
      computations.length = 0;
      // The reason is for the audit trail.
      expect(await accounts.authenticate(login, given)).toEqual({ ok: false, reason, accountId });
      expect(computations).toEqual(['verify m=8192,p=1,t=1']);
    }
  });

  test('a password that nobody can have is refused before it costs anything, known name or not', async () => {
    const { accounts, computations } = makeAccounts(testDatabase);
    const { email } = await createOne(accounts);
    computations.length = 0;
    for (const login of [email, uniqueEmail()]) {
      expect(await accounts.authenticate(login, 'x'.repeat(1_025))).toMatchObject({ ok: false });
    }
    expect(computations).toEqual([]);
  });

  test('a password longer than 72 bytes counts to its last character', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const long = 'x'.repeat(1_023);
    const { email } = await createOne(accounts, { password: `${long}y` });
    expect(await accounts.authenticate(email, `${long}y`)).toMatchObject({ ok: true });
    expect(await accounts.authenticate(email, `${long}z`)).toMatchObject({ ok: false });
  });
});

describe('a hash of older parameters', () => {
  const stronger = { ...lightParameters, passes: 2 };

  test('is upgraded when its password is given, and only then', async () => {
    const { id, email } = await createOne(makeAccounts(testDatabase).accounts);
    const { accounts, computations } = makeAccounts(testDatabase, { parameters: stronger });
    const before = await storedHash(id);
    await accounts.authenticate(email, 'wrong horse battery');
    expect(await storedHash(id)).toBe(before);
    computations.length = 0;
    expect(await accounts.authenticate(email, password)).toMatchObject({ ok: true });
    expect(await storedHash(id)).toMatch(/m=8192,p=1,t=2/);
    expect(await accounts.authenticate(email, password)).toMatchObject({ ok: true });
    expect(computations).toEqual(['verify m=8192,p=1,t=1', 'hash', 'verify m=8192,p=1,t=2']);
  });

  test('stays where the account is disabled', async () => {
    const { accounts } = makeAccounts(testDatabase);
    const { id, email } = await createOne(accounts);
    await accounts.disable(id);
    const before = await storedHash(id);
    expect(
      await makeAccounts(testDatabase, { parameters: stronger }).accounts.authenticate(email, password),
    ).toMatchObject({ ok: false });
    expect(await storedHash(id)).toBe(before);
  });

  test('never takes back a password that was set meanwhile, and the sign-in stands', async () => {
    const plain = makeAccounts(testDatabase).accounts;
    const { id, email } = await createOne(plain);
    const { accounts } = makeAccounts(testDatabase, {
      parameters: stronger,
      hash: (async (...parameters: Parameters<typeof argon2.hash>) => {
        await plain.setPassword(id, 'another horse entirely');
        return argon2.hash(...parameters);
      }) as typeof argon2.hash,
    });
    expect(await accounts.authenticate(email, password)).toMatchObject({ ok: true });
    expect(await plain.authenticate(email, 'another horse entirely')).toMatchObject({ ok: true });
    expect(await plain.authenticate(email, password)).toMatchObject({ ok: false });
  });

  test('lets the sign-in stand when it can not be upgraded', async () => {
    const { email } = await createOne(makeAccounts(testDatabase).accounts);
    const { accounts } = makeAccounts(testDatabase, {
      parameters: stronger,
      hash: (async () => {
        throw new Error('out of memory');
      }) as typeof argon2.hash,
    });
    expect(await accounts.authenticate(email, password)).toMatchObject({ ok: true });
  });
});
