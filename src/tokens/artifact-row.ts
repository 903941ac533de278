import { createHmac, hash } from 'node:crypto';
import { AppError } from '../errors.ts';
import type { ArtifactKind, ArtifactPayload, Sealer } from './artifact.ts';
import { type ArtifactReferences, referencesOf } from './artifact-references.ts';
import { markConsumed, purgeTime } from './artifact-retention.ts';
import { joinBearerValues, type SealedMember, splitBearerValues } from './bearer-values.ts';

/** A row as it is written; times are ISO 8601. */
export type ArtifactRow = ArtifactReferences & {
  id: Buffer;
  kind: ArtifactKind;
  payload: string;
  sealed: string | undefined;
  userCodeHash: Buffer | undefined;
  consumedAt: string | undefined;
  expiresAt: string | undefined;
  purgeAt: string | undefined;
};

/** A row as it is read. It may be shared: the payload is JSON, of which everyone who decodes it makes a copy of their own. */
export type StoredRow = {
  /** In hex. */
  id: string;
  kind: ArtifactKind;
  payload: string;
  sealed: string | null;
  consumed_at: Date | null;
  expires_at: Date | null;
};

/**
 * The key of a row: SHA-256 over kind and presented value. A bare digest is enough, for the values have 256 random bits
 * (a registered client's one-time `jti` may have fewer, but is no secret). No kind contains a NUL, so no two pairs share
 * an input.
 */
export function digestOf(kind: ArtifactKind, value: string): Buffer {
  return hash('sha256', `${kind}\0${value}`, 'buffer');
}

/** The same in hex, as rows that are read bear it: half the price where it is only looked up. */
export function keyOf(kind: ArtifactKind, value: string): string {
  return hash('sha256', `${kind}\0${value}`, 'hex');
}

/** User codes have about 34 bits, which a bare digest would give away to anyone who can try them all. */
export function hashUserCode(key: Uint8Array, userCode: string): Buffer {
  return createHmac('sha256', key).update(userCode).digest();
}

/** When something that lives `ttlSeconds` from `now` on expires, and when its row may go. */
export function lifetimeColumns(
  kind: ArtifactKind,
  ttlSeconds: number | undefined,
  now: number,
): Pick<ArtifactRow, 'expiresAt' | 'purgeAt'> {
  if (ttlSeconds === undefined) return { expiresAt: undefined, purgeAt: undefined };
  const expiresAt = now + ttlSeconds * 1000;
  if (Number.isNaN(new Date(expiresAt).getTime())) {
    throw new AppError({ code: 'server_error', message: `An artifact can't live for ${ttlSeconds} seconds.` });
  }
  return {
    expiresAt: new Date(expiresAt).toISOString(),
    purgeAt: new Date(purgeTime(kind, expiresAt)).toISOString(),
  };
}

/** Everything that a payload becomes in the database. @throws AppError when it can't be stored */
export function encodeArtifact(
  artifact: { kind: ArtifactKind; id: string; payload: ArtifactPayload; ttlSeconds: number | undefined },
  keys: { sealer: Sealer; userCodeKey(): Uint8Array },
  now: number,
): ArtifactRow {
  const { kind, id } = artifact;
  const { consumed, ...payload } = artifact.payload;
  const digest = digestOf(kind, id);
  const { json, sealed } = splitBearerValues(kind, id, payload);
  return {
    id: digest,
    kind,
    payload: json,
    sealed:
      sealed.length === 0
        ? undefined
        : keys.sealer.seal(JSON.stringify(sealed), sealContext(kind, digest.toString('hex'))),
    ...referencesOf(kind, id, payload),
    userCodeHash: typeof payload.userCode === 'string' ? hashUserCode(keys.userCodeKey(), payload.userCode) : undefined,
    consumedAt: typeof consumed === 'number' ? new Date(consumed * 1000).toISOString() : undefined,
    ...lifetimeColumns(kind, artifact.ttlSeconds, now),
  };
}

/**
 * The payload again. Fails closed: what can't be unsealed (another key, another row's value) throws.
 *
 * @param id as presented, or undefined where the artifact was found by something else
 */
export function decodeArtifact(row: StoredRow, id: string | undefined, sealer: Sealer, now: number): ArtifactPayload {
  const sealed =
    row.sealed === null
      ? []
      : (JSON.parse(sealer.unseal(row.sealed, sealContext(row.kind, row.id))) as readonly SealedMember[]);
  const payload = joinBearerValues(row.kind, id, JSON.parse(row.payload) as ArtifactPayload, sealed);
  if (row.consumed_at !== null) markConsumed(row.kind, payload, row.consumed_at.getTime(), now);
  return payload;
}

function sealContext(kind: ArtifactKind, digestHex: string): string {
  return `artifact:${kind}:${digestHex}`;
}

/** A time (epoch ms) as statements take it. */
export function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
