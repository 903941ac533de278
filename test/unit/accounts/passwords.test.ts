import { describe, expect, test } from '@jest/globals';
import argon2 from 'argon2';
import { createHashingQueue } from '../../../src/accounts/hashing-queue.ts';
import { createPasswordHasher } from '../../../src/accounts/password-hasher.ts';
import { passwordFault, toPasswordBytes } from '../../../src/accounts/password-policy.ts';

describe('a new password', () => {
  test('has at least 8 characters, a code point being one', () => {
    expect(passwordFault('1234567')).toBe('wants at least 8 characters');
    expect(passwordFault('12345678')).toBeUndefined();
    expect(passwordFault('🔑🔑🔑🔑')).toBe('wants at least 8 characters');
    expect(passwordFault('🔑'.repeat(8))).toBeUndefined();
  });

  test('may be long, of any characters, blanks too', () => {
    expect(passwordFault(`  ${'correct horse '.repeat(8)}é漢 `)).toBeUndefined();
    expect(passwordFault('x'.repeat(1_024))).toBeUndefined();
  });

  test('is refused over 1,024 bytes, never cut off', () => {
    expect(passwordFault('x'.repeat(1_025))).toBe('wants at most 1024 bytes of text');
    expect(passwordFault('漢'.repeat(342))).toBe('wants at most 1024 bytes of text');
    expect(toPasswordBytes('x'.repeat(10_000_000))).toBeUndefined();
  });

  test('is refused when it is not Unicode: all such would be hashed alike', () => {
    expect(passwordFault('password\ud800')).toBe('wants at most 1024 bytes of text');
  });
});

describe('the bytes of a password', () => {
  test('are the same however a keyboard composes its letters', () => {
    expect(toPasswordBytes('cafe\u0301-1234')).toEqual(toPasswordBytes('caf\u00e9-1234'));
  });

  test('differ where the letters differ: NFC does not fold compatible characters', () => {
    expect(toPasswordBytes('\uff21dmin-1234')).not.toEqual(toPasswordBytes('Admin-1234'));
  });
});

describe('the password hasher', () => {
  const parameters = { memoryKib: 8_192, passes: 1, lanes: 1 };
  const password = Buffer.from('correct horse');

  test('makes argon2id hashes of the configured cost', async () => {
    const hasher = createPasswordHasher({ parameters });
    const hash = await hasher.hash(password);
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=8192,p=1,t=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(await hasher.verify(hash, password)).toBe(true);
    expect(await hasher.verify(hash, Buffer.from('wrong horse'))).toBe(false);
  });

  test('knows a hash of other parameters or of another kind as outdated', async () => {
    const hasher = createPasswordHasher({ parameters });
    const stronger = createPasswordHasher({ parameters: { ...parameters, passes: 2 } });
    const hash = await hasher.hash(password);
    expect(hasher.isOutdated(hash)).toBe(false);
    expect(stronger.isOutdated(hash)).toBe(true);
    const cost = { memoryCost: 8_192, timeCost: 1, parallelism: 1 };
    expect(hasher.isOutdated(await argon2.hash(password, { ...cost, type: argon2.argon2i }))).toBe(true);
  });

  test('has a decoy of the same shape and cost as a real hash, which nothing matches', async () => {
    const hasher = createPasswordHasher({ parameters });
    const hash = await hasher.hash(password);
    expect(hasher.decoyHash).toHaveLength(hash.length);
    expect(hasher.isOutdated(hasher.decoyHash)).toBe(false);
    expect(await hasher.verify(hasher.decoyHash, password)).toBe(false);
    expect(createPasswordHasher({ parameters }).decoyHash).not.toBe(hasher.decoyHash);
  });

  test('computes a few at a time and refuses a flood at once', async () => {
    const gate = Promise.withResolvers<boolean>();
    let running = 0;
    let most = 0;
    const hasher = createPasswordHasher({
      parameters,
      concurrency: 2,
      maxWaiting: 3,
      argon2: {
        hash: argon2.hash,
        async verify() {
          running += 1;
          most = Math.max(most, running);
          const isRight = await gate.promise;
          running -= 1;
          return isRight;
        },
      },
    });
    const flood = Array.from({ length: 50 }, () => hasher.verify(hasher.decoyHash, password));
    const outcomes = Promise.allSettled(flood);
    await expect(flood[5]).rejects.toMatchObject({
      code: 'temporarily_unavailable',
      status: 503,
      retryAfterSeconds: 2,
    });
    gate.resolve(false);
    expect((await outcomes).map((outcome) => outcome.status)).toEqual([
      ...Array<string>(5).fill('fulfilled'),
      ...Array<string>(45).fill('rejected'),
    ]);
    expect(most).toBe(2);
    expect(await hasher.verify(hasher.decoyHash, password)).toBe(false);
  });
});

describe('the hashing queue', () => {
  test('serves in the order of arrival, and a failure frees its place', async () => {
    const inTurn = createHashingQueue({ concurrency: 1, maxWaiting: 10 });
    const served: number[] = [];
    const outcomes = await Promise.allSettled(
      [0, 1, 2, 3].map((index) =>
        inTurn(async () => {
          served.push(index);
          if (index % 2 === 0) throw new Error('failed');
        }),
      ),
    );
    expect(served).toEqual([0, 1, 2, 3]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled']);
    await expect(inTurn(async () => 'free')).resolves.toBe('free');
  });
});
