import type { Clock } from '../config/index.ts';
import type {
  ArtifactKind,
  ArtifactPayload,
  ArtifactStore,
  ConsumeOutcome,
  RefreshRotation,
  RevocationFilter,
  Sealer,
} from './artifact.ts';
import { isStorable, TOMBSTONED_KINDS } from './artifact-references.ts';
import { CLOCK_TOLERANCE_MS, ENDED_SESSION_RETENTION_MS, isRetained } from './artifact-retention.ts';
import {
  type ArtifactRow,
  decodeArtifact,
  digestOf,
  encodeArtifact,
  hashUserCode,
  lifetimeColumns,
  type StoredRow,
} from './artifact-row.ts';
import * as statements from './artifact-statements-store.ts';
import { createBatcher, isFaultOfOneRow } from './batching.ts';
import { createRefreshRotations } from './refresh-rotation.ts';
import { selectRotatedById } from './refresh-rotation-store.ts';

type OneTimeRow = Pick<ArtifactRow, 'id' | 'kind' | 'expiresAt' | 'purgeAt'>;

/**
 * The store that several nodes share. Concurrent look-ups and writes travel together (batching.ts).
 *
 * @param dependencies.pool connections of its own, so that no page's query waits for tokens or makes them wait
 * @param dependencies.userCodeKey at least 32 bytes; with another key no pending device code is found by its user code
 */
export function createPostgresArtifactStore(dependencies: {
  pool: statements.StatementRunner;
  sealer: Sealer;
  userCodeKey: Uint8Array;
  clock: Clock;
}): ArtifactStore {
  const { pool, sealer, clock } = dependencies;
  const running = new Set<Promise<unknown>>();

  const finds = createBatcher<Buffer, StoredRow | undefined>({
    isFaultOfOneRow,
    async run(ids) {
      const unique = distinct(ids, hex);
      const byId = new Map((await statements.selectByIds(pool, unique)).map((row) => [hex(row.id), row]));
      const rows = ids.map((id) => byId.get(hex(id)));
      // Decoding writes into the payload; two look-ups of one row must not share it.
      if (unique.length === ids.length) return rows;
      return rows.map((row) => row && { ...row, payload: structuredClone(row.payload) });
    },
  });
  const upserts = createBatcher<ArtifactRow, void>({
    isFaultOfOneRow,
    keyOf: (row) => hex(row.id),
    async run(rows) {
      await statements.upsertRows(pool, lastPerId(rows));
      return rows.map(() => undefined);
    },
  });
  const consumes = createBatcher<Buffer, ConsumeOutcome>({
    isFaultOfOneRow,
    async run(ids) {
      const outcomes = await statements.consumeRows(pool, distinct(ids, hex), isoTime(clock()));
      return ids.map((id) => {
        const outcome = outcomes.get(hex(id)) ?? 'not_found';
        if (outcome === 'consumed') outcomes.set(hex(id), 'already_consumed');
        return outcome;
      });
    },
  });
  const oneTimeInserts = createBatcher<OneTimeRow, boolean>({
    isFaultOfOneRow,
    async run(rows) {
      const unique = distinct(rows, (row) => hex(row.id));
      const inserted = await statements.insertMissingRows(pool, unique, isoTime(clock() - CLOCK_TOLERANCE_MS));
      return rows.map((row) => inserted.delete(hex(row.id)));
    },
  });

  const rotations = createRefreshRotations({ ...dependencies, isFaultOfOneRow });

  function payloadOf(row: StoredRow | undefined, id?: string): ArtifactPayload | undefined {
    if (row === undefined) return undefined;
    const now = clock();
    return isRetained(row.kind, row.expires_at?.getTime(), now) ? decodeArtifact(row, id, sealer, now) : undefined;
  }

  async function tracked<T>(work: Promise<T>): Promise<T> {
    running.add(work);
    try {
      return await work;
    } finally {
      running.delete(work);
    }
  }

  return Object.freeze({
    async find(kind: ArtifactKind, id: string) {
      return payloadOf(await finds.submit(digestOf(kind, id)), id);
    },
    async findByUid(uid: string) {
      if (!isStorable(uid)) return undefined;
      return payloadOf(await statements.selectSessionByUid(pool, uid));
    },
    async findByUserCode(userCode: string) {
      const rows = await statements.selectByUserCodeHash(pool, hashUserCode(dependencies.userCodeKey, userCode));
      const now = clock();
      const pending = rows.filter((row) => row.expires_at === null || row.expires_at.getTime() > now);
      // Two devices that drew the same code: neither may be approved in the other's place.
      if (pending.length > 1) return undefined;
      const payload = payloadOf(pending[0] ?? rows[0]);
      return payload === undefined ? undefined : { ...payload, userCode };
    },
    async upsert(kind: ArtifactKind, id: string, payload: ArtifactPayload, ttlSeconds: number | undefined) {
      await upserts.submit(encodeArtifact({ kind, id, payload, ttlSeconds }, dependencies, clock()));
    },
    consume: (kind: ArtifactKind, id: string) => consumes.submit(digestOf(kind, id)),
    rotateRefreshToken: (rotation: RefreshRotation) => rotations.rotate(rotation),
    async findRotatedRefreshToken(id: string, leewaySeconds: number) {
      return payloadOf(await selectRotatedById(pool, digestOf('RefreshToken', id), leewaySeconds), id);
    },
    async insertOnce(kind: 'ReplayDetection', id: string, provisionalTtlSeconds: number) {
      const lifetime = lifetimeColumns(kind, provisionalTtlSeconds, clock());
      return oneTimeInserts.submit({ id: digestOf(kind, id), kind, ...lifetime });
    },
    async destroy(kind: ArtifactKind, id: string) {
      const digest = digestOf(kind, id);
      const now = clock();
      const isBuried = TOMBSTONED_KINDS.includes(kind);
      await tracked(
        isBuried
          ? statements.buryById(pool, digest, isoTime(now), isoTime(now + ENDED_SESSION_RETENTION_MS))
          : statements.deleteById(pool, digest),
      );
    },
    async revokeByGrantId(kind: ArtifactKind, grantId: string) {
      if (isStorable(grantId)) await tracked(statements.deleteByGrantId(pool, kind, grantId));
    },
    async revokeAll(filter: RevocationFilter) {
      if (!Object.values(filter).every(isStorable)) return 0;
      const now = clock();
      return tracked(statements.revokeRows(pool, filter, isoTime(now), isoTime(now + ENDED_SESSION_RETENTION_MS)));
    },
    async close() {
      await Promise.all([finds.drain(), upserts.drain(), consumes.drain(), oneTimeInserts.drain(), rotations.drain()]);
      await Promise.allSettled(running);
    },
  });
}

/** ON CONFLICT can't touch a row twice in one statement. The last write wins; what it doesn't say is kept, as in SQL. */
function lastPerId(rows: readonly ArtifactRow[]): ArtifactRow[] {
  const byId = new Map<string, ArtifactRow>();
  for (const row of rows) {
    const earlier = byId.get(hex(row.id));
    byId.set(hex(row.id), {
      ...row,
      userCodeHash: row.userCodeHash ?? earlier?.userCodeHash,
      consumedAt: earlier?.consumedAt ?? row.consumedAt,
    });
  }
  return [...byId.values()];
}

function distinct<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return [...new Map(items.toReversed().map((item) => [keyOf(item), item])).values()];
}

function hex(id: Buffer): string {
  return id.toString('hex');
}

function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
