import type { Clock } from '../config/index.ts';
import type { RefreshRotation, RotationOutcome, Sealer } from './artifact.ts';
import { digestOf, encodeArtifact } from './artifact-row.ts';
import type { StatementRunner } from './artifact-statements-store.ts';
import { createBatcher, isFaultOfOneRow } from './batching.ts';
import { type RotationRow, rotateRows } from './refresh-rotation-store.ts';

type Submitted = RotationRow & { parentKey: string; childValue: string };

/** A successor that still has to be unsealed: by its own caller, so that one that can't be fails nobody else. */
type Answer = RotationOutcome | { outcome: 'retried_sealed'; successor: string };

/**
 * Rotates refresh tokens for the store on PostgreSQL. Concurrent rotations travel together; those of one parent obey the
 * same rule within a batch as they do across nodes: one wins, the others are retries.
 */
export function createRefreshRotations(dependencies: {
  pool: StatementRunner;
  sealer: Sealer;
  userCodeKey(): Uint8Array;
  clock: Clock;
}): { rotate(rotation: RefreshRotation): Promise<RotationOutcome>; drain(): Promise<void> } {
  const { pool, sealer, clock } = dependencies;
  const rotations = createBatcher<Submitted, Answer>({
    isFaultOfOneRow,
    keyOf: ({ parentKey }) => parentKey,
    async run(submitted) {
      const firsts = new Map<string, Submitted>();
      for (const one of submitted) if (!firsts.has(one.parentKey)) firsts.set(one.parentKey, one);
      const rotated = await rotateRows(pool, [...firsts.values()]);
      return submitted.map((one): Answer => {
        const row = rotated.get(one.parentKey);
        const first = firsts.get(one.parentKey);
        if (row === undefined || first === undefined) return { outcome: 'not_found' };
        if (row.isWinner && one === first) return { outcome: 'rotated' };
        if (one.leewaySeconds === 0) return { outcome: 'reused' };
        if (row.isWinner) return { outcome: 'retried', successor: first.childValue };
        if (row.successor === undefined) return { outcome: 'reused' };
        return { outcome: 'retried_sealed', successor: row.successor };
      });
    },
  });

  return {
    async rotate({ parent, child, payload, ttlSeconds, leewaySeconds }) {
      const parentId = digestOf('RefreshToken', parent);
      const context = successorContext(parentId);
      const answer = await rotations.submit({
        parentId,
        parentKey: parentId.toString('hex'),
        successor: leewaySeconds === 0 ? null : sealer.seal(child, context),
        leewaySeconds,
        child: encodeArtifact({ kind: 'RefreshToken', id: child, payload, ttlSeconds }, dependencies, clock()),
        childValue: child,
      });
      if (answer.outcome !== 'retried_sealed') return answer;
      return { outcome: 'retried', successor: sealer.unseal(answer.successor, context) };
    },
    drain: rotations.drain,
  };
}

/** Bound to the parent's row: moved to another row, it can't be unsealed, and neither can what is sealed there else. */
function successorContext(parentId: Buffer): string {
  return `artifact:RefreshToken:${parentId.toString('hex')}:successor`;
}
