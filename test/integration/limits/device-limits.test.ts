import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createDeviceLimits, type DeviceLimits } from '../../../src/limits/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { letIntervalsPass } from '../../harness/devices.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

const TRIES = 5;
const pseudonymKey = randomBytes(32);

let testDatabase: TestDatabase;
beforeAll(async () => {
  testDatabase = await openTestDatabase();
});
afterAll(() => testDatabase.close());

type Options = {
  tries?: number;
  windowSeconds?: number;
  pool?: Pick<pg.Pool, 'query'>;
  wrongCodesBeforeStrict?: number;
};

function makeLimits(options: Options = {}): DeviceLimits {
  return createDeviceLimits({
    pool: options.pool ?? testDatabase.database.pool,
    limits: { attemptsPerAddress: options.tries ?? TRIES, windowSeconds: options.windowSeconds ?? 900 },
    pseudonymKey,
    logger: silentLogger,
    wrongCodesBeforeStrict: options.wrongCodesBeforeStrict ?? 1_000_000,
  });
}

let sites = 0;
/** The addresses of a /48 of its own, so that no test counts against another's; each is from the next /64. */
function uniqueSite(): () => string {
  sites += 1;
  const prefix = `2001:db8:${sites.toString(16)}`;
  let addresses = 0;
  return () => {
    addresses += 1;
    return `${prefix}:${addresses.toString(16)}::1`;
  };
}

const uniqueAddress = () => uniqueSite()();

/** A wrong code. @returns whether anybody looked */
async function guess(limits: DeviceLimits, address: string): Promise<boolean> {
  const { isAllowed } = await limits.tryUserCode(address);
  if (isAllowed) await limits.wasWrong();
  return isAllowed;
}

async function guessMany(limits: DeviceLimits, address: string, count: number): Promise<number> {
  const looked = await Promise.all(Array.from({ length: count }, () => guess(limits, address)));
  return looked.filter(Boolean).length;
}

describe('trying user codes', () => {
  test('of 100 wrong codes at once from one address, on two nodes, as many as are allowed are looked up', async () => {
    const address = uniqueAddress();
    const looked = await Promise.all([makeLimits(), makeLimits()].map((limits) => guessMany(limits, address, 50)));
    expect(looked.reduce((sum, count) => sum + count)).toBe(TRIES);
  });

  test('is refused until the window passes, saying for how long, and the first time alone is worth a note', async () => {
    const limits = makeLimits();
    const address = uniqueAddress();
    await guessMany(limits, address, TRIES);
    const decisions = [await limits.tryUserCode(address), await limits.tryUserCode(address)];
    expect(decisions.map((decision) => !decision.isAllowed && decision.isFirst)).toEqual([true, false]);
    for (const decision of decisions) {
      if (decision.isAllowed) throw new Error('was allowed');
      expect(decision.retryAfterSeconds).toBeLessThanOrEqual(900);
      expect(decision.retryAfterSeconds).toBeGreaterThan(890);
    }
  });

  test('is allowed again when the window has passed', async () => {
    const limits = makeLimits({ windowSeconds: 1 });
    const address = uniqueAddress();
    expect(await guessMany(limits, address, 20)).toBe(TRIES);
    await until('the window has passed', async () => (await limits.tryUserCode(address)).isAllowed);
  });

  test('is one count for a whole /64, and another for the next', async () => {
    const limits = makeLimits();
    const nextAddress = uniqueSite();
    const address = nextAddress();
    await guessMany(limits, address, TRIES);
    expect(await guess(limits, address.replace('::1', '::2'))).toBe(false);
    expect(await guess(limits, nextAddress())).toBe(true);
  });

  test('of right codes costs nothing, however many', async () => {
    const limits = makeLimits();
    const address = uniqueAddress();
    for (let count = 0; count < 4 * TRIES; count += 1) {
      expect(await limits.tryUserCode(address)).toEqual({ isAllowed: true });
      await limits.giveBack(address);
    }
  });

  test('leaves each address fewer tries when many were wrong everywhere, and no address none', async () => {
    const limits = makeLimits({ wrongCodesBeforeStrict: 40 });
    const { database } = testDatabase;
    await database.pool.query(`delete from sign_in_attempts where key like 'wrong-user-codes:%'`);
    for (let count = 0; count < 8; count += 1) expect(await guessMany(limits, uniqueAddress(), 20)).toBe(TRIES);
    for (let count = 0; count < 8; count += 1) expect(await guessMany(limits, uniqueAddress(), 20)).toBe(3);
    expect(await limits.tryUserCode(uniqueAddress())).toEqual({ isAllowed: true });
  });

  test.each([
    ['eight times the tries of an address', { wrongCodesBeforeStrict: 1_000_000 }, 8 * TRIES],
    ['eight times three tries when many were wrong everywhere', { wrongCodesBeforeStrict: 0 }, 8 * 3],
  ])('leaves a whole /48, which guesses from ever new addresses on two nodes, %s', async (_, options, expected) => {
    const [one, other] = [makeLimits(options), makeLimits(options)];
    const nextAddress = uniqueSite();
    const looked = await Promise.all(
      Array.from({ length: 100 }, (_, index) => guess(index % 2 ? one : other, nextAddress())),
    );
    expect(looked.filter(Boolean).length).toBe(expected);
    expect(await guess(one, nextAddress())).toBe(false);
    expect(await guess(one, uniqueAddress())).toBe(true);
  });

  test('from one address that goes on and on blocks no neighbour in its /48', async () => {
    const limits = makeLimits();
    const nextAddress = uniqueSite();
    expect(await guessMany(limits, nextAddress(), 100)).toBe(TRIES);
    expect(await guessMany(limits, nextAddress(), 20)).toBe(TRIES);
  });

  test('from a /48 that has no more is worth one note, whatever the addresses', async () => {
    const limits = makeLimits();
    const nextAddress = uniqueSite();
    for (let count = 0; count < 8; count += 1) await guessMany(limits, nextAddress(), TRIES);
    const decisions = [];
    for (let count = 0; count < 3; count += 1) decisions.push(await limits.tryUserCode(nextAddress()));
    expect(decisions.map((decision) => !decision.isAllowed && decision.isFirst)).toEqual([true, false, false]);
    for (const decision of decisions) {
      if (decision.isAllowed) throw new Error('was allowed');
      expect(decision.retryAfterSeconds).toBeGreaterThan(890);
    }
  });

  test('that is refused for its /48 takes nothing from the address, and leaves no trace of it', async () => {
    const limits = makeLimits();
    const { pool } = testDatabase.database;
    const nextAddress = uniqueSite();
    for (let count = 0; count < 8; count += 1) await guessMany(limits, nextAddress(), TRIES);
    const refused = nextAddress();
    expect(await guess(limits, refused)).toBe(false);
    const rows = async () =>
      (await pool.query(`select key from sign_in_attempts where key like 'user-code:%'`)).rowCount;
    const before = await rows();
    for (let count = 0; count < 20; count += 1) expect(await guess(limits, nextAddress())).toBe(false);
    expect(await rows()).toBe(before);
    await pool.query(`delete from sign_in_attempts where key like 'user-code-site:%'`);
    expect(await guessMany(limits, refused, 20)).toBe(TRIES);
  });

  test('of right codes costs a /48 nothing, however many', async () => {
    const limits = makeLimits();
    const nextAddress = uniqueSite();
    for (let count = 0; count < 10 * TRIES; count += 1) {
      const address = nextAddress();
      expect(await limits.tryUserCode(address)).toEqual({ isAllowed: true });
      await limits.giveBack(address);
    }
  });

  test('is counted by each process alone while the database is away', async () => {
    const limits = makeLimits({ pool: { query: () => Promise.reject(new Error('away')) } as unknown as pg.Pool });
    expect(await guessMany(limits, uniqueAddress(), 20)).toBe(TRIES);
  });

  test('tells nobody who tried: no address is stored', async () => {
    await guess(makeLimits(), '203.0.113.77');
    const { rows } = await testDatabase.database.pool.query('select key from sign_in_attempts');
    expect(rows.length).toBeGreaterThan(0);
    expect(JSON.stringify(rows)).not.toContain('203.0.113');
  });
});

describe('polling', () => {
  const deviceCode = () => randomBytes(32).toString('base64url');

  test('is allowed once in an interval, of any number at once on two nodes', async () => {
    const [one, other] = [makeLimits(), makeLimits()];
    const code = deviceCode();
    const polls = () => Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 ? one : other).mayPoll(code)));
    expect((await polls()).filter(Boolean).length).toBe(1);
    expect((await polls()).filter(Boolean).length).toBe(0);
    await letIntervalsPass(testDatabase.database.pool);
    expect((await polls()).filter(Boolean).length).toBe(1);
  });

  test('may come a second early, as one poll may overtake another on its way', async () => {
    const limits = makeLimits();
    const code = deviceCode();
    await limits.mayPoll(code);
    const { pool } = testDatabase.database;
    await pool.query(`update sign_in_attempts set expire = expire - 3000 where key like 'poll:%'`);
    expect(await limits.mayPoll(code)).toBe(false);
    await pool.query(`update sign_in_attempts set expire = expire - 1000 where key like 'poll:%'`);
    expect(await limits.mayPoll(code)).toBe(true);
  });

  test('is a fault while the database is away, and not an answer', async () => {
    const away = new pg.Pool({ connectionString: 'postgres://127.0.0.1:1/nowhere' });
    await expect(makeLimits({ pool: away }).mayPoll(deviceCode())).rejects.toThrow(/ECONNREFUSED/);
    await away.end();
  });

  test('stores no device code', async () => {
    const code = deviceCode();
    await makeLimits().mayPoll(code);
    const { rows } = await testDatabase.database.pool.query('select key from sign_in_attempts');
    expect(JSON.stringify(rows)).not.toContain(code);
  });
});
