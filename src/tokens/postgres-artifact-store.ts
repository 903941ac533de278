import type { Clock } from '../config/index.ts';
import type {
  ArtifactKind,
  ArtifactPayload,
  ArtifactStore,
  ConsumeOutcome,
  RefreshRotation,
  Sealer,
} from './artifact.ts';
import { type ArtifactCache, createArtifactCache } from './artifact-cache.ts';
import { createArtifactEndings } from './artifact-endings.ts';
import { DROPS_CHANNEL, keysIn } from './artifact-endings-store.ts';
import { CACHED_KINDS, isStorable } from './artifact-references.ts';
import { CLOCK_TOLERANCE_MS, isRetained } from './artifact-retention.ts';
import {
  type ArtifactRow,
  decodeArtifact,
  digestOf,
  encodeArtifact,
  hashUserCode,
  isoTime,
  keyOf,
  lifetimeColumns,
  type StoredRow,
} from './artifact-row.ts';
import * as statements from './artifact-statements-store.ts';
import { createBatcher, distinct, isFaultOfOneRow } from './batching.ts';
import { createRefreshRotations } from './refresh-rotation.ts';
import { selectRotatedById } from './refresh-rotation-store.ts';
import { countStatements, type StatementCounts } from './statement-counts.ts';
import { createTokenReader } from './token-reader.ts';

type OneTimeRow = Pick<ArtifactRow, 'id' | 'kind' | 'expiresAt' | 'purgeAt'>;

/** How other processes are heard when they end something: `hear` tells of every message, and of any that may be lost. */
export type DropFeed = {
  hear(channel: string, listener: (message: string | undefined) => void): void;
  isListening(): boolean;
};

/** Since the start: statements sent, and how often what was asked was held. */
export type ArtifactCounts = { statements: StatementCounts; cache: ReturnType<ArtifactCache['counts']> };

/**
 * The store that several nodes share. Concurrent look-ups and writes travel together (batching.ts).
 *
 * @param dependencies.pool connections of its own, so that no page's query waits for tokens or makes them wait
 * @param dependencies.cache how much token readers may hold, and the clock of its age, in milliseconds; none: nothing
 * @param dependencies.userCodeKey at least 32 bytes; with another key no pending device code is found by its user code
 */
export function createPostgresArtifactStore(dependencies: {
  pool: statements.StatementRunner;
  sealer: Sealer;
  userCodeKey(): Uint8Array;
  clock: Clock;
  cache?: { size: number; dropFeed: DropFeed; now(): number };
}): ArtifactStore & Readonly<{ counts(): ArtifactCounts }> {
  const { sealer, clock } = dependencies;
  const { runner: pool, counts: statementCounts } = countStatements(dependencies.pool);
  const { size, dropFeed, now } = dependencies.cache ?? { size: 0, dropFeed: undefined, now: clock };
  const cache = createArtifactCache({ size, isHeard: () => dropFeed?.isListening() ?? false, now });
  dropFeed?.hear(DROPS_CHANNEL, (message) => cache.drop(keysIn(message)));

  const finds = createBatcher<string, StoredRow | undefined>({
    isFaultOfOneRow,
    async run(ids) {
      const byId = new Map((await statements.selectByIds(pool, ids)).map((row) => [row.id, row]));
      return ids.map((id) => byId.get(id));
    },
  });
  const sessionFinds = createBatcher<string, StoredRow | undefined>({
    isFaultOfOneRow,
    async run(uids) {
      const sessions = await cache.read(() => statements.selectSessionsByUid(pool, uids));
      return uids.map((uid) => sessions.get(uid));
    },
  });
  const tokenFinds = createBatcher<readonly string[], ReadonlyMap<string, StoredRow>>({
    isFaultOfOneRow,
    async run(asked) {
      const found = await cache.read(() => statements.selectTokens(pool, asked.flat()));
      return asked.map(() => found);
    },
  });
  const upserts = createBatcher<ArtifactRow, void>({
    isFaultOfOneRow,
    keyOf: (row) => hex(row.id),
    async run(rows) {
      try {
        await statements.upsertRows(pool, lastPerId(rows));
      } finally {
        for (const { id, kind, sessionUid } of rows) {
          if (CACHED_KINDS.includes(kind)) cache.drop(sessionUid === undefined ? [hex(id)] : [sessionUid]);
        }
      }
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

  const rotations = createRefreshRotations({ ...dependencies, pool });

  const endings = createArtifactEndings({ pool, cache, clock });

  const find = async (kind: ArtifactKind, id: string) => payloadOf(await finds.submit(keyOf(kind, id)), id);
  const loadSession = async (uid: string) => (isStorable(uid) ? sessionFinds.submit(uid) : undefined);

  function payloadOf(row: StoredRow | undefined, id?: string): ArtifactPayload | undefined {
    if (row === undefined) return undefined;
    const now = clock();
    return isRetained(row.kind, row.expires_at?.getTime(), now) ? decodeArtifact(row, id, sealer, now) : undefined;
  }

  return Object.freeze({
    find,
    findByUid: async (uid: string) => payloadOf(await loadSession(uid)),
    hasKey: async (key: string) => payloadOf(await finds.submit(key)) !== undefined,
    openTokenReader: () =>
      createTokenReader({ cache, load: (ids) => tokenFinds.submit(ids), loadSession, decode: payloadOf, find }),
    async findByUserCode(userCode: string) {
      const rows = await statements.selectByUserCodeHash(pool, hashUserCode(dependencies.userCodeKey(), userCode));
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
    destroy: endings.destroy,
    revokeByGrantId: endings.revokeByGrantId,
    revokeAll: endings.revokeAll,
    counts: () => ({ statements: statementCounts(), cache: cache.counts() }),
    async close() {
      const reads = [finds, sessionFinds, tokenFinds];
      const writes = [upserts, consumes, oneTimeInserts, rotations, endings];
      await Promise.all([...reads, ...writes].map((batcher) => batcher.drain()));
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

function hex(id: Buffer): string {
  return id.toString('hex');
}
