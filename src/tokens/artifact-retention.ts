import { CLOCK_TOLERANCE_SECONDS } from '../config/index.ts';
import type { ArtifactKind, ArtifactPayload } from './artifact.ts';

/** What has just expired by our clock may not have by the one that asks. */
export const CLOCK_TOLERANCE_MS = CLOCK_TOLERANCE_SECONDS * 1_000;

const HOUR_MS = 3_600_000;

/**
 * How long an artifact is still found after it expired. Codes and refresh tokens longer, so that a late replay is
 * recognised and ends the grant. A code leaks through histories, referrers and logs and is tried within minutes; one
 * hour also outlasts the access tokens of its exchange. A device that asks late is told that its code has expired, and not
 * that there is no such code (RFC 8628, section 3.5). A rotated refresh token is stolen from storage and may be tried
 * days later, while its family lives on.
 */
const RETENTION_MS: Partial<Record<ArtifactKind, number>> = {
  AuthorizationCode: HOUR_MS,
  DeviceCode: HOUR_MS,
  RefreshToken: 7 * 24 * HOUR_MS,
};

/**
 * An ended session's tombstone must outlive whatever was saved under its `uid` in the same moment. No session lives
 * longer than its cookie, and browsers keep no cookie beyond 400 days (RFC 6265bis, section 5.5).
 */
export const ENDED_SESSION_RETENTION_MS = 400 * 24 * HOUR_MS;

/** Rounding `purge_at` up keeps an indexed column unchanged while a session is rewritten, each time a bit later. */
const PURGE_STEP_MS = 600_000;

function retentionMs(kind: ArtifactKind): number {
  return RETENTION_MS[kind] ?? CLOCK_TOLERANCE_MS;
}

/** Whether an artifact that expires or expired at `expiresAt` (epoch ms) may still be returned. */
export function isRetained(kind: ArtifactKind, expiresAt: number | undefined, now: number): boolean {
  return expiresAt === undefined || now < expiresAt + retentionMs(kind);
}

/** When the row may be removed (epoch ms): never before it stops being found. */
export function purgeTime(kind: ArtifactKind, expiresAt: number): number {
  return Math.ceil((expiresAt + retentionMs(kind)) / PURGE_STEP_MS) * PURGE_STEP_MS;
}

/** How far ahead the `exp` of a replayed code or refresh token is set: longer than any request takes. */
const REPLAY_WINDOW_SECONDS = 60;

/** Adds when it was consumed; for what is retained for the sake of replays, sees to it that the library gets as far as its reuse check. */
export function markConsumed(kind: ArtifactKind, payload: ArtifactPayload, consumedAt: number, now: number): void {
  payload.consumed = Math.floor(consumedAt / 1000);
  const seconds = Math.floor(now / 1000);
  if (RETENTION_MS[kind] !== undefined && typeof payload.exp === 'number' && payload.exp <= seconds) {
    payload.exp = seconds + REPLAY_WINDOW_SECONDS;
  }
}
