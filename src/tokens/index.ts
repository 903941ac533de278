/**
 * Owns what the protocol stores ("artifacts": sessions, grants, codes, opaque tokens, interactions) and its rules: kept
 * without any bearer value, consumed once, dead when destroyed, gone some time after expiry; and what ends the tokens that
 * are stored nowhere ("revocations"). Refuses to know what a token means: scopes, audiences and formats are the provider's,
 * and so is every decision by `exp`.
 */
export type {
  ArtifactKind,
  ArtifactPayload,
  ArtifactStore,
  RevocationFilter,
} from './artifact.ts';
export { type ArtifactRow, encodeArtifact, keyOf as artifactKey } from './artifact-row.ts';
export { sweepExpiredArtifacts } from './artifact-sweep-store.ts';
export { endManagementTokens } from './management-tokens-store.ts';
export { type ArtifactCounts, createPostgresArtifactStore } from './postgres-artifact-store.ts';
export { wipeSuccessors } from './refresh-rotation-store.ts';
export { createRevocations, type Revocations } from './revocations.ts';
export { sessionClientsOf } from './sessions-store.ts';
