import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSignInLimits, type SignInAttempt, type SignInLimits } from '../../../src/limits/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

const limits = { attemptsPerAccount: 5, attemptsPerAddress: 50, windowSeconds: 900 };
const pseudonymKey = randomBytes(32);

let testDatabase: TestDatabase;

beforeAll(async () => {
  testDatabase = await openTestDatabase();
});
afterAll(() => testDatabase.close());

/** Limits that note how long they would wait instead of waiting. */
function makeLimits(options: { limits?: Partial<typeof limits>; pool?: Pick<pg.Pool, 'query'>; key?: Buffer } = {}) {
  const waits: number[] = [];
  const signInLimits = createSignInLimits({
    pool: options.pool ?? testDatabase.database.pool,
    limits: { ...limits, ...options.limits },
    pseudonymKey: options.key ?? pseudonymKey,
    logger: silentLogger,
    wait: async (milliseconds) => waits.push(milliseconds),
  });
  return { signInLimits, waits };
}

const uniqueLogin = () => `${randomBytes(8).toString('hex')}@example.com`;
/** From a /64 of its own, so that no test counts against another's address. */
const uniqueAddress = () => `2001:db8:${randomBytes(2).toString('hex')}:${randomBytes(2).toString('hex')}::1`;

/** One wrong guess. @returns whether it came as far as the password */
async function guessWrong(signInLimits: SignInLimits, attempt: SignInAttempt): Promise<boolean> {
  const { isAllowed } = await signInLimits.check(attempt);
  if (isAllowed) await signInLimits.failed(attempt);
  return isAllowed;
}

async function guessMany(signInLimits: SignInLimits, attempt: SignInAttempt, count: number): Promise<number> {
  const outcomes = await Promise.all(Array.from({ length: count }, () => guessWrong(signInLimits, attempt)));
  return outcomes.filter(Boolean).length;
}

describe('guessing at one name from one address', () => {
  test('of 200 wrong guesses at once, on two nodes, as many as are allowed reach the password', async () => {
    const [one, other] = [makeLimits(), makeLimits()];
    const attempt = { login: uniqueLogin(), address: uniqueAddress() };
    const reached = await Promise.all([
      guessMany(one.signInLimits, attempt, 100),
      guessMany(other.signInLimits, attempt, 100),
    ]);
    expect(reached.reduce((sum, count) => sum + count)).toBe(limits.attemptsPerAccount);
  });

  test('is refused until the window passes, saying for how long', async () => {
    const { signInLimits } = makeLimits();
    const attempt = { login: uniqueLogin(), address: uniqueAddress() };
    expect(await guessMany(signInLimits, attempt, 5)).toBe(5);
    const decision = await signInLimits.check(attempt);
    if (decision.isAllowed) throw new Error('was allowed');
    expect(Number.isInteger(decision.retryAfterSeconds)).toBe(true);
    expect(decision.retryAfterSeconds).toBeLessThanOrEqual(900);
    expect(decision.retryAfterSeconds).toBeGreaterThan(890);
  });

  test('is let in again when the window has passed, however often it was tried meanwhile', async () => {
    const { signInLimits } = makeLimits({ limits: { windowSeconds: 1 } });
    const attempt = { login: uniqueLogin(), address: uniqueAddress() };
    expect(await guessMany(signInLimits, attempt, 20)).toBe(5);
    await until('the window has passed', async () => (await signInLimits.check(attempt)).isAllowed);
  });

  test('is one count, however the name is written', async () => {
    const { signInLimits } = makeLimits();
    const [login, address] = [uniqueLogin(), uniqueAddress()];
    for (const written of [login, login.toUpperCase(), ` ${login}`, `${login}\t`, login]) {
      expect(await guessWrong(signInLimits, { login: written, address })).toBe(true);
    }
    expect(await guessWrong(signInLimits, { login: login.toUpperCase(), address })).toBe(false);
  });

  test('is one count for a whole /64 of IPv6, and another for the next', async () => {
    const { signInLimits } = makeLimits();
    const login = uniqueLogin();
    const prefix = uniqueAddress().replace('::1', '');
    for (const host of ['1', '2', 'ffff:1', 'a:b:c:d', '5']) {
      const separator = host === 'a:b:c:d' ? ':' : '::';
      expect(await guessWrong(signInLimits, { login, address: `${prefix}${separator}${host}` })).toBe(true);
    }
    expect(await guessWrong(signInLimits, { login, address: `${prefix}::6` })).toBe(false);
    expect(await guessWrong(signInLimits, { login, address: uniqueAddress() })).toBe(true);
  });

  test('starts afresh after a success', async () => {
    const { signInLimits } = makeLimits();
    const attempt = { login: uniqueLogin(), address: uniqueAddress() };
    expect(await guessMany(signInLimits, attempt, 4)).toBe(4);
    expect(await signInLimits.check(attempt)).toEqual({ isAllowed: true });
    await signInLimits.succeeded(attempt);
    expect(await guessMany(signInLimits, attempt, 10)).toBe(5);
  });

  test('an attempt whose password was never looked at costs nothing', async () => {
    const { signInLimits } = makeLimits({ limits: { attemptsPerAddress: 5 } });
    const attempt = { login: uniqueLogin(), address: uniqueAddress() };
    for (let count = 0; count < 20; count += 1) {
      expect(await signInLimits.check(attempt)).toEqual({ isAllowed: true });
      await signInLimits.undecided(attempt);
    }
    expect(await guessMany(signInLimits, attempt, 10)).toBe(5);
  });
});

describe('guessing at many names from one address', () => {
  test('is refused after as many as are allowed of an address, other addresses are not', async () => {
    const { signInLimits } = makeLimits();
    const address = uniqueAddress();
    const outcomes = await Promise.all(
      Array.from({ length: 80 }, () => guessWrong(signInLimits, { login: uniqueLogin(), address })),
    );
    expect(outcomes.filter(Boolean)).toHaveLength(limits.attemptsPerAddress);
    expect(await guessWrong(signInLimits, { login: uniqueLogin(), address: uniqueAddress() })).toBe(true);
  });

  test('leaves no counter of a name that was only tried once the address was blocked', async () => {
    const { signInLimits } = makeLimits({ limits: { attemptsPerAddress: 5 } });
    const address = uniqueAddress();
    const countersWritten = async () => {
      const { rows } = await testDatabase.database.pool.query('select count(*)::int from sign_in_attempts');
      return rows[0].count;
    };
    for (let count = 0; count < 6; count += 1) await guessWrong(signInLimits, { login: uniqueLogin(), address });
    const before = await countersWritten();
    for (let count = 0; count < 50; count += 1) {
      expect(await guessWrong(signInLimits, { login: uniqueLogin(), address })).toBe(false);
    }
    expect(await countersWritten()).toBe(before);
  });

  test('is not reset by signing in to an own account between the guesses', async () => {
    const { signInLimits } = makeLimits({ limits: { attemptsPerAddress: 6 } });
    const address = uniqueAddress();
    const own = { login: uniqueLogin(), address };
    let reached = 0;
    for (let round = 0; round < 10; round += 1) {
      if ((await signInLimits.check(own)).isAllowed) await signInLimits.succeeded(own);
      if (await guessWrong(signInLimits, { login: uniqueLogin(), address })) reached += 1;
    }
    expect(reached).toBe(6);
  });

  test('one blocked name does not block its address for others', async () => {
    const { signInLimits } = makeLimits({ limits: { attemptsPerAddress: 10 } });
    const address = uniqueAddress();
    expect(await guessMany(signInLimits, { login: uniqueLogin(), address }, 100)).toBe(5);
    expect(await guessMany(signInLimits, { login: uniqueLogin(), address }, 5)).toBe(5);
  });

  test('what the address is refused takes nothing from the name', async () => {
    const strict = makeLimits({ limits: { attemptsPerAddress: 3 } }).signInLimits;
    const address = uniqueAddress();
    const attempt = { login: uniqueLogin(), address };
    for (let count = 0; count < 3; count += 1) await guessWrong(strict, { login: uniqueLogin(), address });
    for (let count = 0; count < 10; count += 1) expect(await guessWrong(strict, attempt)).toBe(false);
    expect(await guessMany(makeLimits().signInLimits, attempt, 10)).toBe(5);
  });
});

describe('guessing at one name from many addresses', () => {
  test('slows by a growing wait that has a cap, and refuses nobody', async () => {
    const { signInLimits, waits } = makeLimits();
    const login = uniqueLogin();
    for (let count = 0; count < 12; count += 1) {
      expect(await guessWrong(signInLimits, { login, address: uniqueAddress() })).toBe(true);
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 4_000, 4_000]);
  });

  test('a person still gets in from another address while an attacker is blocked', async () => {
    const { signInLimits, waits } = makeLimits();
    const login = uniqueLogin();
    const attacker = { login, address: uniqueAddress() };
    expect(await guessMany(signInLimits, attacker, 50)).toBe(5);
    expect(await signInLimits.check(attacker)).toMatchObject({ isAllowed: false });
    expect(await signInLimits.check({ login, address: uniqueAddress() })).toEqual({ isAllowed: true });
    expect(waits).toEqual([250]);
  });

  test('an address that the person has signed in from does not wait, and is known on every node', async () => {
    const login = uniqueLogin();
    const home = { login, address: uniqueAddress() };
    const before = makeLimits().signInLimits;
    await before.check(home);
    await before.succeeded(home);
    const { signInLimits, waits } = makeLimits();
    for (let count = 0; count < 8; count += 1) await guessWrong(signInLimits, { login, address: uniqueAddress() });
    waits.length = 0;
    expect(await signInLimits.check(home)).toEqual({ isAllowed: true });
    expect(waits).toEqual([]);
    await signInLimits.check({ login, address: uniqueAddress() });
    expect(waits).toEqual([2_000]);
  });

  test('a known address is as limited in its guesses as any other', async () => {
    const { signInLimits } = makeLimits();
    const home = { login: uniqueLogin(), address: uniqueAddress() };
    await signInLimits.check(home);
    await signInLimits.succeeded(home);
    expect(await guessMany(signInLimits, home, 20)).toBe(5);
  });
});

describe('of the refusals in one window one is the first', () => {
  async function refusals(nodes: SignInLimits[], attemptOf: () => SignInAttempt): Promise<boolean[]> {
    const decisions = await Promise.all(
      Array.from({ length: 60 }, (_, index) => nodes[index % nodes.length]?.check(attemptOf())),
    );
    return decisions.flatMap((decision) => (decision?.isAllowed === false ? [decision.isFirst] : []));
  }

  test.each<[string, () => () => SignInAttempt]>([
    [
      'for a name from an address',
      () => {
        const attempt = { login: uniqueLogin(), address: uniqueAddress() };
        return () => attempt;
      },
    ],
    [
      'for an address',
      () => {
        const address = uniqueAddress();
        return () => ({ login: uniqueLogin(), address });
      },
    ],
  ])('%s, however many come at once, on two nodes', async (_, make) => {
    const nodes = [makeLimits(), makeLimits()].map(({ signInLimits }) => signInLimits);
    const attemptOf = make();
    const first = await refusals(nodes, attemptOf);
    expect(first.length).toBeGreaterThan(5);
    expect(first.filter(Boolean)).toHaveLength(1);
    const later = await refusals(nodes, attemptOf);
    expect(later).toHaveLength(60);
    expect(later).not.toContain(true);
  });

  test('and another one in the next window', async () => {
    const { signInLimits } = makeLimits({ limits: { windowSeconds: 1 } });
    const attempt = { login: uniqueLogin(), address: uniqueAddress() };
    const nextFirst = async () => {
      for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
        const decision = await signInLimits.check(attempt);
        if (!decision.isAllowed && decision.isFirst) return true;
      }
      return false;
    };
    expect([await nextFirst(), await nextFirst()]).toEqual([true, true]);
  });
});

describe('the counters', () => {
  test('hold neither names nor addresses, and nothing that can be compared without the key', async () => {
    const attempt = { login: uniqueLogin(), address: uniqueAddress() };
    async function rowsWritten(key: Buffer): Promise<string[]> {
      await testDatabase.database.pool.query('truncate sign_in_attempts');
      const { signInLimits } = makeLimits({ key });
      await guessWrong(signInLimits, attempt);
      await signInLimits.check(attempt);
      await signInLimits.succeeded(attempt);
      await guessWrong(signInLimits, attempt);
      const { rows } = await testDatabase.database.pool.query('select * from sign_in_attempts order by key');
      return rows.map((row) => row.key);
    }
    const keys = await rowsWritten(pseudonymKey);
    expect(keys.map((key) => key.split(':')[0])).toEqual(['address', 'failures', 'known', 'name+address']);
    for (const key of keys) expect(key).toMatch(/^[a-z+]+:[A-Za-z0-9_-]{43}$/);
    const others = await rowsWritten(randomBytes(32));
    expect(keys.filter((key) => others.includes(key))).toEqual([]);
  });

  test('whose window has passed are swept in bounded batches, the others stay', async () => {
    const { signInLimits } = makeLimits();
    const attempt = { login: uniqueLogin(), address: uniqueAddress() };
    expect(await guessMany(signInLimits, attempt, 5)).toBe(5);
    await signInLimits.sweep(1_000);
    await testDatabase.database.pool.query(
      "insert into sign_in_attempts select 'passed:' || n, 1, 1 from generate_series(1, 5) n",
    );
    expect([await signInLimits.sweep(3), await signInLimits.sweep(3), await signInLimits.sweep(3)]).toEqual([3, 2, 0]);
    expect(await guessWrong(signInLimits, attempt)).toBe(false);
  });

  test('leave no prepared statements behind, which a pooler in transaction mode would mix up', async () => {
    const pool = new pg.Pool({ connectionString: testDatabase.url, max: 1 });
    try {
      const { signInLimits } = makeLimits({ pool });
      const attempt = { login: uniqueLogin(), address: uniqueAddress() };
      await guessWrong(signInLimits, attempt);
      await signInLimits.check(attempt);
      await signInLimits.succeeded(attempt);
      expect((await pool.query('select name from pg_prepared_statements')).rows).toEqual([]);
    } finally {
      await pool.end();
    }
  });

  test('are kept in memory while the database is away', async () => {
    const pool = new pg.Pool({ connectionString: 'postgres://nobody@127.0.0.1:1/nothing' });
    const { signInLimits, waits } = makeLimits({ pool });
    const login = uniqueLogin();
    const attempt = { login, address: uniqueAddress() };
    expect(await guessMany(signInLimits, attempt, 50)).toBe(5);
    expect(await guessWrong(signInLimits, { login, address: uniqueAddress() })).toBe(true);
    expect(waits).toEqual([250]);
    await expect(signInLimits.succeeded(attempt)).resolves.toBeUndefined();
    await expect(signInLimits.undecided(attempt)).resolves.toBeUndefined();
    await pool.end();
  });
});
