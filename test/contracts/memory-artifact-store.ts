import type { Clock } from '../../src/config/index.ts';
import type { ArtifactKind, ArtifactPayload, ArtifactStore, RevocationFilter } from '../../src/tokens/artifact.ts';
import {
  type ArtifactReferences,
  REVOCABLE_KINDS,
  referencesOf,
  TOMBSTONED_KINDS,
} from '../../src/tokens/artifact-references.ts';
import { CLOCK_TOLERANCE_MS, isRetained, markConsumed } from '../../src/tokens/artifact-retention.ts';
import { withoutSessionCookie } from '../../src/tokens/bearer-values.ts';
import { artifactKey } from '../../src/tokens/index.ts';

type Artifact = ArtifactReferences & {
  kind: ArtifactKind;
  json: string;
  userCode: string | undefined;
  expiresAt: number | undefined;
  consumedAt: number | undefined;
  successor?: string;
  isDestroyed: boolean;
};

/** The same rules in one process's memory, for comparison with the store on PostgreSQL. It never forgets by itself. */
export function createMemoryArtifactStore(dependencies: { clock: Clock }): ArtifactStore {
  const { clock } = dependencies;
  const artifacts = new Map<string, Artifact>();
  const endedSessionUids = new Set<string>();

  function read(artifact: Artifact | undefined): ArtifactPayload | undefined {
    if (artifact === undefined || artifact.isDestroyed) return undefined;
    if (artifact.sessionUid !== undefined && endedSessionUids.has(artifact.sessionUid)) return undefined;
    const now = clock();
    if (!isRetained(artifact.kind, artifact.expiresAt, now)) return undefined;
    const payload = JSON.parse(artifact.json) as ArtifactPayload;
    if (artifact.consumedAt !== undefined) markConsumed(artifact.kind, payload, artifact.consumedAt, now);
    return payload;
  }

  function bury(artifact: Artifact, isEnd: boolean): void {
    if (isEnd && artifact.sessionUid !== undefined) endedSessionUids.add(artifact.sessionUid);
    Object.assign(artifact, { isDestroyed: true, json: '{}' });
  }

  const store: ArtifactStore = {
    async find(kind, id) {
      return read(artifacts.get(keyOf(kind, id)));
    },
    async findByUid(uid) {
      const sessions = [...artifacts.values()].filter(
        (artifact) => artifact.sessionUid === uid && !artifact.isDestroyed,
      );
      const [newest] = sessions.toSorted((a, b) => (b.expiresAt ?? Infinity) - (a.expiresAt ?? Infinity));
      const payload = read(newest);
      delete payload?.jti;
      return payload;
    },
    async hasKey(key) {
      return [...artifacts].some(
        ([pair, artifact]) =>
          artifactKey(...(pair.split('\0') as [ArtifactKind, string])) === key && read(artifact) !== undefined,
      );
    },
    openTokenReader: () => store,
    async findByUserCode(userCode) {
      const found = [...artifacts.values()].filter((artifact) => artifact.userCode === userCode);
      const pending = found.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > clock());
      const payload = pending.length > 1 ? undefined : read(pending[0] ?? found[0]);
      return payload === undefined ? undefined : { ...payload, userCode };
    },
    async upsert(kind, id, payload, ttlSeconds) {
      const { consumed, ...kept } = withoutSessionCookie(kind, payload);
      const references = referencesOf(kind, id, kept);
      const existing = artifacts.get(keyOf(kind, id));
      if (existing?.isDestroyed) return;
      artifacts.set(keyOf(kind, id), {
        kind,
        ...references,
        json: JSON.stringify({ ...kept, jti: id }),
        userCode: typeof kept.userCode === 'string' ? kept.userCode : existing?.userCode,
        expiresAt: ttlSeconds === undefined ? undefined : clock() + ttlSeconds * 1000,
        consumedAt: existing?.consumedAt ?? (typeof consumed === 'number' ? consumed * 1000 : undefined),
        isDestroyed: false,
      });
    },
    async consume(kind, id) {
      const artifact = artifacts.get(keyOf(kind, id));
      if (artifact === undefined || artifact.isDestroyed) return 'not_found';
      if (artifact.consumedAt !== undefined) return 'already_consumed';
      artifact.consumedAt = clock();
      return 'consumed';
    },
    async rotateRefreshToken({ parent, child, payload, ttlSeconds, leewaySeconds }) {
      const artifact = artifacts.get(keyOf('RefreshToken', parent));
      if (artifact === undefined) return { outcome: 'not_found' };
      if (artifact.consumedAt !== undefined) {
        const isRetry = clock() < artifact.consumedAt + leewaySeconds * 1000;
        if (!isRetry || artifact.successor === undefined) return { outcome: 'reused' };
        return { outcome: 'retried', successor: artifact.successor };
      }
      artifact.consumedAt = clock();
      artifact.successor = child;
      await store.upsert('RefreshToken', child, payload, ttlSeconds);
      return { outcome: 'rotated' };
    },
    async findRotatedRefreshToken(id, leewaySeconds) {
      const artifact = artifacts.get(keyOf('RefreshToken', id));
      if (artifact?.successor === undefined || artifact.consumedAt === undefined) return undefined;
      if (clock() >= artifact.consumedAt + leewaySeconds * 1000) return undefined;
      return read({ ...artifact, consumedAt: undefined });
    },
    async insertOnce(kind, id, provisionalTtlSeconds) {
      const existing = artifacts.get(keyOf(kind, id));
      const isFree = existing?.expiresAt !== undefined && existing.expiresAt <= clock() - CLOCK_TOLERANCE_MS;
      if (existing !== undefined && !isFree) return false;
      await store.upsert(kind, id, {}, provisionalTtlSeconds);
      return true;
    },
    async destroy(kind, id) {
      const artifact = artifacts.get(keyOf(kind, id));
      if (artifact !== undefined && TOMBSTONED_KINDS.includes(kind)) bury(artifact, artifact.isDestroyed);
      else artifacts.delete(keyOf(kind, id));
    },
    async revokeByGrantId(kind, grantId) {
      for (const [key, artifact] of artifacts) {
        if (artifact.kind === kind && artifact.grantId === grantId) artifacts.delete(key);
      }
    },
    async revokeAll(filter) {
      let count = 0;
      for (const [key, artifact] of artifacts) {
        if (artifact.isDestroyed || !matches(artifact, filter)) continue;
        if (TOMBSTONED_KINDS.includes(artifact.kind)) bury(artifact, true);
        else if (REVOCABLE_KINDS.includes(artifact.kind)) artifacts.delete(key);
        else continue;
        count += 1;
      }
      return count;
    },
    async close() {},
  };
  return Object.freeze(store);
}

function matches(artifact: Artifact, filter: RevocationFilter): boolean {
  return Object.entries(filter).every(([name, value]) => artifact[name as keyof ArtifactReferences] === value);
}

function keyOf(kind: ArtifactKind, id: string): string {
  return `${kind}\0${id}`;
}
