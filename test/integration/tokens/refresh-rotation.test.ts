import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import type { Clock } from '../../../src/config/index.ts';
import { digestOf } from '../../../src/tokens/artifact-row.ts';
import { type ArtifactStore, createPostgresArtifactStore, wipeSuccessors } from '../../../src/tokens/index.ts';
import { randomValue } from '../../contracts/artifact-store-contract.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { ageRotation } from '../../harness/rotations.ts';
import { findSecret, readEverything } from '../../security/database-dump.ts';
import { createAesSealer } from './aes-sealer.ts';

const HOUR = 3_600;
/** Long, so that no machine is too slow to retry within it. */
const LEEWAY = 60;
const SKEW_MS = 45_000;
const userCodeKey = randomBytes(32);
const keys = { sealer: createAesSealer(randomBytes(32)), userCodeKey: () => userCodeKey };

/** Two nodes, each with its own connections, batches and clock. */
let testDatabase: TestDatabase;
let pools: pg.Pool[];
let nodes: [ArtifactStore, ArtifactStore];
beforeAll(async () => {
  testDatabase = await openTestDatabase();
  pools = [1, 2].map(() => new pg.Pool({ connectionString: testDatabase.url }));
  const nodeOf = (pool: pg.Pool | undefined, clock: Clock) =>
    createPostgresArtifactStore({ pool: pool as pg.Pool, clock, ...keys });
  nodes = [nodeOf(pools[0], () => Date.now() - SKEW_MS), nodeOf(pools[1], () => Date.now() + SKEW_MS)];
});
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()));
  await testDatabase.close();
});

const pool = () => testDatabase.database.pool;
const age = (parent: string, seconds: number) => ageRotation(pool(), parent, seconds);

async function putParent(grantId = randomValue()): Promise<string> {
  const id = randomValue();
  await nodes[0].upsert('RefreshToken', id, { jti: id, grantId, kind: 'RefreshToken' }, HOUR);
  return id;
}

async function rotate(node: ArtifactStore, parent: string, grantId = 'grant', leewaySeconds = LEEWAY) {
  const child = randomValue();
  const payload = { jti: child, grantId, kind: 'RefreshToken' };
  return {
    child,
    result: await node.rotateRefreshToken({ parent, child, payload, ttlSeconds: HOUR, leewaySeconds }),
  };
}

async function successorOf(parent: string): Promise<string | null> {
  const { rows } = await pool().query('select successor from artifacts where id = $1', [
    digestOf('RefreshToken', parent),
  ]);
  return rows[0].successor;
}

describe('two nodes whose clocks are further apart than the leeway is long', () => {
  test('agree on one child of a token, however many rotate it at the same time', async () => {
    for (let round = 0; round < 40; round += 1) {
      const parent = await putParent();
      const rotations = await Promise.all(
        Array.from({ length: 40 }, (_, index) => rotate(nodes[index % 2 ? 1 : 0], parent)),
      );
      const winners = rotations.filter(({ result }) => result.outcome === 'rotated');
      expect(winners).toHaveLength(1);
      for (const { result } of rotations) {
        if (result.outcome !== 'rotated') expect(result).toEqual({ outcome: 'retried', successor: winners[0]?.child });
      }
    }
  });

  test('agree on when the leeway ends: it goes by the database’s clock', async () => {
    for (const [rotating, asking] of [nodes, nodes.toReversed()] as [ArtifactStore, ArtifactStore][]) {
      const parent = await putParent();
      const { child } = await rotate(rotating, parent);
      await age(parent, LEEWAY / 2);
      expect(await asking.findRotatedRefreshToken(parent, LEEWAY)).toBeDefined();
      expect((await rotate(asking, parent)).result).toEqual({ outcome: 'retried', successor: child });
      await age(parent, LEEWAY / 2);
      expect(await asking.findRotatedRefreshToken(parent, LEEWAY)).toBeUndefined();
      expect((await rotate(asking, parent)).result).toEqual({ outcome: 'reused' });
    }
  });

  test('rotate many tokens in opposite orders without waiting for each other in a circle', async () => {
    for (let round = 0; round < 10; round += 1) {
      const parents = await Promise.all(Array.from({ length: 100 }, () => putParent()));
      const [forth, back] = await Promise.all([
        Promise.all(parents.map((parent) => rotate(nodes[0], parent))),
        Promise.all(parents.toReversed().map((parent) => rotate(nodes[1], parent))),
      ]);
      const outcomes = [...forth, ...back].map(({ result }) => result.outcome);
      expect(outcomes.filter((outcome) => outcome === 'rotated')).toHaveLength(parents.length);
      expect(outcomes.filter((outcome) => outcome === 'retried')).toHaveLength(parents.length);
    }
  });

  test('leave no child under a token that one of them revokes meanwhile, or leave it to its dead grant', async () => {
    for (let round = 0; round < 40; round += 1) {
      const grantId = randomValue();
      await nodes[0].upsert('Grant', grantId, { jti: grantId, kind: 'Grant' }, HOUR);
      const parent = await putParent(grantId);
      const [{ result }] = await Promise.all([
        rotate(nodes[0], parent, grantId),
        nodes[1].revokeAll({ grantId }),
        rotate(nodes[1], parent, grantId),
      ]);
      expect(['rotated', 'retried', 'not_found']).toContain(result.outcome);
      expect((await rotate(nodes[0], parent, grantId)).result).toEqual({ outcome: 'not_found' });
      expect(await nodes[0].find('Grant', grantId)).toBeUndefined();
    }
  });
});

describe('the successor', () => {
  test('stands sealed in its parent’s row, and in clear in no column of any table', async () => {
    const parent = await putParent();
    const { child } = await rotate(nodes[0], parent);
    expect(await successorOf(parent)).toEqual(expect.any(String));
    const stored = await readEverything(testDatabase.database.knex);
    expect(findSecret(stored, child)).toEqual([]);
    expect(findSecret(stored, digestOf('RefreshToken', child).toString('base64url'))).toContain('public.artifacts.id');
  });

  test('stands nowhere where there is no leeway', async () => {
    const parent = await putParent();
    expect((await rotate(nodes[0], parent, 'grant', 0)).result).toEqual({ outcome: 'rotated' });
    expect(await successorOf(parent)).toBeNull();
    expect((await rotate(nodes[1], parent, 'grant', 0)).result).toEqual({ outcome: 'reused' });
  });

  test('can’t be read when it was moved to another row, and whoever travels with that one is answered', async () => {
    const [mine, stolen, bystander] = await Promise.all([putParent(), putParent(), putParent()]);
    await rotate(nodes[0], mine);
    await rotate(nodes[0], stolen);
    const { child } = await rotate(nodes[0], bystander);
    await pool().query('update artifacts set successor = $2 where id = $1', [
      digestOf('RefreshToken', mine),
      await successorOf(stolen),
    ]);
    const [failed, answered] = await Promise.allSettled([rotate(nodes[0], mine), rotate(nodes[0], bystander)]);
    expect(failed.status).toBe('rejected');
    expect(answered).toMatchObject({ value: { result: { outcome: 'retried', successor: child } } });
  });

  test('is wiped once the leeway has passed, and not before', async () => {
    const [old, fresh] = await Promise.all([putParent(), putParent()]);
    await rotate(nodes[0], old);
    const { child } = await rotate(nodes[0], fresh);
    await age(old, LEEWAY);
    await wipeSuccessors({ pool: pool(), leewaySeconds: LEEWAY, batchSize: 1_000 });
    expect(await successorOf(old)).toBeNull();
    expect((await rotate(nodes[0], old)).result).toEqual({ outcome: 'reused' });
    expect((await rotate(nodes[0], fresh)).result).toEqual({ outcome: 'retried', successor: child });
  });

  test('is wiped in bounded batches, which wait for nobody', async () => {
    await wipeSuccessors({ pool: pool(), leewaySeconds: 0, batchSize: 10_000 });
    const parents = await Promise.all(Array.from({ length: 5 }, () => putParent()));
    for (const parent of parents) {
      await rotate(nodes[0], parent);
      await age(parent, LEEWAY);
    }
    const holder = await pool().connect();
    try {
      await holder.query('begin');
      await holder.query('select from artifacts where id = $1 for update', [
        digestOf('RefreshToken', parents[0] ?? ''),
      ]);
      const wipe = () => wipeSuccessors({ pool: pool(), leewaySeconds: LEEWAY, batchSize: 3 });
      expect([await wipe(), await wipe()]).toEqual([3, 1]);
    } finally {
      await holder.query('rollback');
      holder.release();
    }
    expect(await wipeSuccessors({ pool: pool(), leewaySeconds: LEEWAY, batchSize: 3 })).toBe(1);
  });
});

test('a rotation that the database refuses fails alone, and leaves its parent as it was', async () => {
  const [sound, broken] = await Promise.all([putParent(), putParent()]);
  const taken = randomValue();
  await nodes[0].upsert('RefreshToken', taken, { jti: taken }, HOUR);
  const [first, second] = await Promise.allSettled([
    rotate(nodes[0], sound),
    // A child that exists: nobody may be given somebody else's token.
    nodes[0].rotateRefreshToken({ parent: broken, child: taken, payload: {}, ttlSeconds: HOUR, leewaySeconds: LEEWAY }),
  ]);
  expect(first).toMatchObject({ value: { result: { outcome: 'rotated' } } });
  expect(second.status).toBe('rejected');
  expect((await rotate(nodes[0], broken)).result).toEqual({ outcome: 'rotated' });
});
