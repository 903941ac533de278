import type { Clock } from '../config/index.ts';
import type { ArtifactStore, RevocationFilter } from './artifact.ts';
import type { ArtifactCache } from './artifact-cache.ts';
import * as statements from './artifact-endings-store.ts';
import { isStorable, TOMBSTONED_KINDS } from './artifact-references.ts';
import { ENDED_SESSION_RETENTION_MS } from './artifact-retention.ts';
import { digestOf, isoTime } from './artifact-row.ts';
import type { StatementRunner } from './artifact-statements-store.ts';
import { createBatcher, distinct, isFaultOfOneRow } from './batching.ts';

/**
 * Ends artifacts for the store on PostgreSQL. A sign-out or a revocation asks for half a dozen of them at once: those of one
 * sort travel together. What was ended is not held any longer when the answer goes out.
 */
export function createArtifactEndings(dependencies: {
  pool: StatementRunner;
  cache: Pick<ArtifactCache, 'drop'>;
  clock: Clock;
}): Pick<ArtifactStore, 'destroy' | 'revokeByGrantId' | 'revokeAll'> & { drain(): Promise<void> } {
  const { pool, cache, clock } = dependencies;
  const revocations = new Set<Promise<unknown>>();
  const hex = (id: Buffer) => id.toString('hex');
  const endedUntil = () => isoTime(clock() + ENDED_SESSION_RETENTION_MS);

  /** Where a statement failed, nobody knows what it ended. */
  async function forgetting(work: Promise<statements.Ended>): Promise<void> {
    let keys: readonly string[] | undefined;
    try {
      ({ keys } = await work);
    } finally {
      cache.drop(keys);
    }
  }

  const deletions = createBatcher<Buffer, void>({
    isFaultOfOneRow,
    async run(ids) {
      await forgetting(statements.deleteByIds(pool, distinct(ids, hex)));
      return ids.map(() => undefined);
    },
  });
  const burials = createBatcher<Buffer, void>({
    isFaultOfOneRow,
    async run(ids) {
      const times = new Map<string, number>();
      for (const id of ids) times.set(hex(id), (times.get(hex(id)) ?? 0) + 1);
      const rows = distinct(ids, hex).map((id) => ({ id, times: times.get(hex(id)) ?? 1 }));
      await forgetting(statements.buryByIds(pool, rows, isoTime(clock()), endedUntil()));
      return ids.map(() => undefined);
    },
  });
  const grantDeletions = createBatcher<statements.GrantPart, void>({
    isFaultOfOneRow,
    async run(parts) {
      const unique = distinct(parts, ({ kind, grantId }) => `${kind} ${grantId}`);
      await forgetting(statements.deleteByGrantIds(pool, unique));
      return parts.map(() => undefined);
    },
  });

  async function revoke(filter: RevocationFilter): Promise<number> {
    const times = { destroyedAt: isoTime(clock()), endedUntil: endedUntil() };
    try {
      return await statements.revokeRows(pool, filter, times, cache.drop);
    } catch (error) {
      cache.drop(undefined);
      throw error;
    }
  }

  return {
    destroy: (kind, id) => (TOMBSTONED_KINDS.includes(kind) ? burials : deletions).submit(digestOf(kind, id)),
    async revokeByGrantId(kind, grantId) {
      if (isStorable(grantId)) await grantDeletions.submit({ kind, grantId });
    },
    async revokeAll(filter) {
      if (!Object.values(filter).every(isStorable)) return 0;
      const work = revoke(filter);
      revocations.add(work);
      try {
        return await work;
      } finally {
        revocations.delete(work);
      }
    },
    async drain() {
      await Promise.all([deletions, burials, grantDeletions].map((batcher) => batcher.drain()));
      await Promise.allSettled(revocations);
    },
  };
}
