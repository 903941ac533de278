import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Knex } from 'knex';
import { type Clock, systemClock } from '../../../src/config/index.ts';
import { createChangeFeed } from '../../../src/database/index.ts';
import { createRevocations, type Revocations } from '../../../src/tokens/index.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { unique } from '../../harness/factories.ts';
import { silentLogger } from '../../harness/loggers.ts';
import { until } from '../../harness/until.ts';

const LONGEST_TOKEN_SECONDS = 86_400;
const HALF_A_MINUTE_MS = 30_000;

let testDatabase: TestDatabase;
let knex: Knex;
const closing: (() => Promise<void>)[] = [];
beforeEach(async () => {
  testDatabase = await openTestDatabase();
  knex = testDatabase.database.knex;
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await testDatabase.close();
});

/** A node that has read all there is and, where asked, hears of what others revoke. */
async function node({ clock = systemClock, hears = true }: { clock?: Clock; hears?: boolean } = {}) {
  const changes = createChangeFeed({ url: testDatabase.url, knex, logger: silentLogger });
  const revocations = createRevocations({
    knex,
    changeFeed: changes,
    clock,
    longestTokenSeconds: LONGEST_TOKEN_SECONDS,
  });
  closing.push(async () => {
    await changes.close();
    await revocations.close();
  });
  await revocations.load();
  if (hears) await changes.start();
  return revocations;
}

const seconds = (epochMs: number) => Math.floor(epochMs / 1_000);

/** As a node issues it now. */
function tokenOf(issuer: Pick<Revocations, 'revision'>, parties: { clientId?: string; accountId?: string } = {}) {
  return {
    jti: unique('jti'),
    clientId: parties.clientId ?? unique('client'),
    accountId: parties.accountId ?? unique('account'),
    revision: issuer.revision(),
  };
}

const revokeToken = (one: Revocations, token: { jti: string; clientId: string }, exp: number) =>
  one.revokeToken({ jti: token.jti, clientId: token.clientId, exp });

async function countRows(): Promise<number> {
  return Number((await knex('revocations').count().first())?.count);
}

/** As many entries as a bad day brings, under one revision. */
async function insertMany(count: number, expiresAt: Date, clientId = 'many'): Promise<void> {
  await knex.raw(
    `insert into revocations (kind, value, client_id, revision, expires_at, revoked_at)
     select 'token', 'many-' || n, ?, 1, ?, now() from generate_series(1, ?) n`,
    [clientId, expiresAt, count],
  );
}

describe('what is revoked on one node', () => {
  test('is dead there at once and soon on every other: a token, those of a client, those about an account', async () => {
    const [one, other] = [await node(), await node()];
    const [token, ofClient, ofAccount, unharmed] = [tokenOf(one), tokenOf(other), tokenOf(other), tokenOf(one)];
    await revokeToken(one, token, seconds(Date.now()) + 600);
    await one.revokeClient(ofClient.clientId);
    await one.revokeAccount(ofAccount.accountId);
    for (const dead of [token, ofClient, ofAccount]) {
      expect(one.isRevoked(dead)).toBe(true);
      await until('the other node knows', () => other.isRevoked(dead));
    }
    for (const knows of [one, other]) expect(knows.isRevoked(unharmed)).toBe(false);
  });

  test('is known to a node that starts, before it answers anything', async () => {
    const one = await node();
    const token = tokenOf(one);
    await one.revokeClient(token.clientId);
    expect((await node({ hears: false })).isRevoked(token)).toBe(true);
  });

  test('says nothing of what is issued afterwards, in the same second or not', async () => {
    const [one, other] = [await node(), await node()];
    const before = tokenOf(one);
    const { clientId, accountId } = before;
    for (let round = 0; round < 5; round += 1) {
      const earlier = tokenOf(one, { clientId, accountId });
      await one.revokeClient(clientId);
      await one.revokeAccount(accountId);
      const later = tokenOf(one, { clientId, accountId });
      await until('both know the same', () => other.revision() === one.revision());
      for (const knows of [one, other]) {
        expect([before, earlier, later].map((token) => knows.isRevoked(token))).toEqual([true, true, false]);
        expect(knows.isRevoked(tokenOf(knows, { clientId, accountId }))).toBe(false);
      }
    }
  });

  test('ends the tokens of a node that has not heard of it yet, too', async () => {
    const [one, deaf] = [await node(), await node({ hears: false })];
    const { clientId } = tokenOf(one);
    await one.revokeClient(clientId);
    expect(one.isRevoked(tokenOf(deaf, { clientId }))).toBe(true);
    await deaf.load();
    expect(one.isRevoked(tokenOf(deaf, { clientId }))).toBe(false);
  });

  test.each([
    [HALF_A_MINUTE_MS, -HALF_A_MINUTE_MS],
    [-HALF_A_MINUTE_MS, HALF_A_MINUTE_MS],
  ])('depends on no clock: one %i ms off revokes, one %i ms off issues', async (revoking, issuing) => {
    const one = await node({ clock: () => Date.now() + revoking });
    const other = await node({ clock: () => Date.now() + issuing });
    const before = tokenOf(other);
    const { clientId, accountId } = before;
    await one.revokeClient(clientId);
    await until('the other node knows', () => other.isRevoked(before));
    for (const knows of [one, other]) {
      expect(knows.isRevoked(before)).toBe(true);
      for (const issuer of [one, other]) expect(knows.isRevoked(tokenOf(issuer, { clientId, accountId }))).toBe(false);
    }
  });

  test('is found again after a backup was restored, though the backup counts from below', async () => {
    const one = await node();
    const token = tokenOf(one);
    for (let times = 0; times < 5; times += 1) await one.revokeClient(unique('client'));
    const issuedAfterBackup = tokenOf(one, token);
    await knex('revocations').delete();
    await knex('revisions').where({ topic: 'revocations' }).update({ revision: 1 });
    const restored = await node({ hears: false });
    await restored.revokeClient(token.clientId);
    expect(restored.isRevoked(issuedAfterBackup)).toBe(true);
  });
});

describe('many at once', () => {
  test('travel in few statements and are all known, from several nodes at one time', async () => {
    const nodes = [await node(), await node(), await node()];
    const tokens = nodes.flatMap((one) => Array.from({ length: 300 }, () => ({ one, token: tokenOf(one) })));
    await Promise.all(tokens.map(({ one, token }) => revokeToken(one, token, seconds(Date.now()) + 600)));
    for (const { one, token } of tokens) expect(one.isRevoked(token)).toBe(true);
    for (const one of nodes) {
      await until('it knows all', () => tokens.every(({ token }) => one.isRevoked(token)));
    }
    const { rows } = await knex.raw<{ rows: { count: string }[] }>('select count(distinct revision) from revocations');
    expect(Number(rows[0]?.count)).toBeLessThan(20);
  });

  test('of one value are one entry, which lives as long as the longest', async () => {
    const one = await node();
    const token = tokenOf(one);
    const exp = seconds(Date.now());
    await Promise.all([600, 60_000, 60].map((ttl) => revokeToken(one, token, exp + ttl)));
    await revokeToken(one, token, exp + 1);
    const rows = await knex('revocations').select('value', 'expires_at');
    expect(rows.map(({ value }) => value)).toEqual([token.jti]);
    expect(rows[0].expires_at.getTime()).toBeGreaterThan((exp + 60_000) * 1_000);
  });

  test('are loaded page by page, and looked up without going through them', async () => {
    const few = await node({ hears: false });
    await insertMany(100_000, new Date(Date.now() + 600_000));
    let pages = 0;
    knex.on('query', ({ sql }: { sql: string }) => {
      if (/^select .* from "revocations"/.test(sql)) pages += 1;
    });
    const one = await node({ hears: false });
    expect(pages).toBeGreaterThanOrEqual(20);
    const unknown = tokenOf(one);
    const known = { ...unknown, jti: 'many-77777', clientId: 'many' };
    expect(['many-1', 'many-100000'].every((jti) => one.isRevoked({ ...known, jti }))).toBe(true);
    const lookUps = (of: typeof one) => {
      const began = performance.now();
      for (let times = 0; times < 10_000; times += 1) of.isRevoked(times % 2 === 0 ? known : unknown);
      return performance.now() - began;
    };
    lookUps(few);
    // Going through all of them takes some ten thousand times as long as through none.
    expect(lookUps(one) / lookUps(few)).toBeLessThan(100);
    await revokeToken(one, unknown, seconds(Date.now()) + 600);
    expect(one.isRevoked(unknown)).toBe(true);
  });

  test('are read on from where the reading had come to, whatever was revoked again meanwhile', async () => {
    const [one, other] = [await node(), await node({ hears: false })];
    const { clientId } = tokenOf(one);
    for (let round = 0; round < 3; round += 1) {
      const between = tokenOf(other, { clientId });
      await one.revokeClient(clientId);
      await revokeToken(one, tokenOf(one), seconds(Date.now()) + 600);
      await one.revokeClient(unique('client'));
      await other.load();
      expect(other.isRevoked(between)).toBe(true);
      expect(other.revision()).toBe(one.revision());
    }
  });
});

describe('tokens of one client that are revoked one by one', () => {
  const MANY = 10_000;
  const exp = () => seconds(Date.now()) + 600;

  test('are bounded: the next takes along all that the client has, and one mark stands for them', async () => {
    const { clientId } = { clientId: unique('client') };
    const longLived = new Date(Date.now() + 10 * LONGEST_TOKEN_SECONDS * 1_000);
    await insertMany(MANY - 1, longLived, clientId);
    const [one, other] = [await node(), await node()];
    const [last, next, bystander, elsewhere] = [
      tokenOf(one, { clientId }),
      tokenOf(other, { clientId }),
      tokenOf(other, { clientId }),
      tokenOf(one),
    ];
    expect(await revokeToken(one, elsewhere, exp())).toBe('token');
    expect(await revokeToken(one, last, exp())).toBe('token');
    expect(one.isRevoked(bystander)).toBe(false);
    expect(one.heldCount()).toBe(MANY + 1);

    expect(await revokeToken(one, next, exp())).toBe('client');
    await until('the other node knows', () => other.revision() === one.revision());
    const starting = await node({ hears: false });
    const old = { ...tokenOf(one), clientId, jti: 'many-1', revision: 0 };
    for (const knows of [one, other, starting]) {
      for (const dead of [last, next, bystander, old, elsewhere]) expect(knows.isRevoked(dead)).toBe(true);
      expect(knows.isRevoked(tokenOf(knows, { clientId }))).toBe(false);
      expect(knows.heldCount()).toBe(2);
    }
    const rows = await knex('revocations').where({ value: clientId }).select('kind', 'expires_at');
    expect(rows).toEqual([{ kind: 'client', expires_at: longLived }]);
    expect(await countRows()).toBe(2);
    expect(await revokeToken(one, tokenOf(one, { clientId }), exp())).toBe('token');
  });

  test('are not held beside a mark that ends them', async () => {
    const one = await node({ hears: false });
    const [first, second] = [tokenOf(one), tokenOf(one)];
    await revokeToken(one, first, exp());
    await Promise.all([
      revokeToken(one, { ...second, clientId: first.clientId }, exp()),
      one.revokeClient(first.clientId),
    ]);
    expect([first, { ...second, clientId: first.clientId }].map((token) => one.isRevoked(token))).toEqual([true, true]);
    expect(one.heldCount()).toBe(1);
    expect(await countRows()).toBe(1);
  });
});

describe('what has expired', () => {
  test('is remembered until no node can take the token for alive, and then forgotten', async () => {
    let now = Date.now();
    const one = await node({ clock: () => now });
    const token = tokenOf(one);
    await revokeToken(one, token, seconds(now) + 600);
    // A clock that is half a minute behind, with a tolerance of 15 s: to it the token is alive until 45 s after `exp`.
    now += 600_000 + 45_000;
    expect(await one.sweep(10)).toBe(0);
    expect(one.isRevoked(token)).toBe(true);
    now += 3_600_000;
    expect(await one.sweep(10)).toBe(1);
    expect(one.isRevoked(token)).toBe(false);
  });

  test('is forgotten by a node that is asked about no token, too', async () => {
    const start = Date.now();
    let now = start;
    const [one, deaf] = [await node({ hears: false }), await node({ clock: () => now, hears: false })];
    const token = tokenOf(one);
    await revokeToken(one, token, seconds(start) + 600);
    await deaf.load();
    now += 3_600_000;
    await deaf.load();
    // By this time what is still held would count.
    now = start;
    expect(deaf.isRevoked(token)).toBe(false);
    expect((await node({ hears: false })).isRevoked(token)).toBe(true);
  });

  test('does not bring anything back: a mark outlives every token from before it', async () => {
    let now = Date.now();
    const one = await node({ clock: () => now });
    const token = tokenOf(one);
    await one.revokeClient(token.clientId);
    await one.revokeAccount(token.accountId);
    now += LONGEST_TOKEN_SECONDS * 1_000 + 45_000;
    expect(await one.sweep(10)).toBe(0);
    expect(one.isRevoked(token)).toBe(true);
    now += 3_600_000;
    expect(await one.sweep(10)).toBe(2);
  });

  test('is removed in batches of the size asked for, and what has not is kept', async () => {
    const one = await node();
    await insertMany(25, new Date(Date.now() - 1_000));
    const token = tokenOf(one);
    await revokeToken(one, token, seconds(Date.now()) + 600);
    expect([await one.sweep(10), await one.sweep(10), await one.sweep(10), await one.sweep(10)]).toEqual([
      10, 10, 5, 0,
    ]);
    expect(await countRows()).toBe(1);
  });

  test('may lie as far ahead as a token says', async () => {
    const one = await node();
    const token = tokenOf(one);
    await revokeToken(one, token, Number.MAX_SAFE_INTEGER);
    expect(one.isRevoked(token)).toBe(true);
  });
});

describe('a revocation that can’t be written', () => {
  test('is not answered as if it had been', async () => {
    const one = await node({ hears: false });
    const token = tokenOf(one);
    await knex.raw('alter table revocations rename to revocations_elsewhere');
    await expect(revokeToken(one, token, seconds(Date.now()) + 600)).rejects.toThrow();
    await knex.raw('alter table revocations_elsewhere rename to revocations');
    await revokeToken(one, token, seconds(Date.now()) + 600);
    expect(one.isRevoked(token)).toBe(true);
  });

  test('fails alone', async () => {
    const one = await node({ hears: false });
    const tokens = [tokenOf(one), tokenOf(one)];
    await knex.raw(`alter table revocations add constraint refused check (value <> 'refused')`);
    const [first, refused, second] = await Promise.allSettled([
      one.revokeClient(tokens[0]?.clientId ?? ''),
      one.revokeClient('refused'),
      one.revokeClient(tokens[1]?.clientId ?? ''),
    ]);
    expect([first?.status, refused?.status, second?.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(tokens.map((token) => one.isRevoked(token))).toEqual([true, true]);
  });

  test('of a value that no column can hold is of nobody', async () => {
    const one = await node({ hears: false });
    await one.revokeClient('a\0b');
    expect(await countRows()).toBe(0);
  });
});

test('a reading that fails is made good by the next one', async () => {
  const [one, other] = [await node({ hears: false }), await node()];
  const token = tokenOf(one);
  await knex.raw('alter table revocations rename to revocations_elsewhere');
  await expect(other.load()).rejects.toThrow();
  await knex.raw('alter table revocations_elsewhere rename to revocations');
  await one.revokeClient(token.clientId);
  await until('the other node knows', () => other.isRevoked(token));
});
