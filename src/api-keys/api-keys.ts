import type { AuditContext } from '../audit/index.ts';
import type { ApiKey, ApiKeyOwner, ApiKeyPatch, ApiKeyRefusal, NewApiKey } from './api-key.ts';
import type { ApiKeyUsage, ApiKeyUse, ApiKeyVerdict } from './api-key-use.ts';

type Changed = { ok: true; apiKey: ApiKey };
/** `key` is shown this once. */
type Made = Changed & { key: string };

/**
 * API keys. A refusal is returned, with its reason; a database that is away throws. `by` says who wants a change, for the
 * audit trail; left out: whoever these keys were composed for.
 */
export type ApiKeys = Readonly<{
  /** Never more than its owner has: unknown owners, scopes and APIs are refused, and scopes of OpenID Connect. */
  create(input: NewApiKey, by?: AuditContext): Promise<Made | ApiKeyRefusal>;
  /**
   * From memory where possible: at most 750 ms old, or dropped at once by the change feed. Finds what is revoked, disabled
   * or expired, too: whoever uses it asks `isLive`, and looks after the owner. The same object until the key changes.
   *
   * @param id without prefix; one that is malformed is never looked up
   */
  find(id: string): Promise<ApiKey | undefined>;
  /**
   * Whether it is a live secret of that key, compared as digests in constant time; of a key that is not there, after the
   * same work. Says nothing of whether the key is live.
   *
   * @param secret the 49 characters behind the second underscore; a wrong checksum never reaches the database
   */
  verify(id: string, secret: string): Promise<boolean>;
  /** In the order of their ids, as the database has them: all, or those of one owner; with those that are revoked. */
  list(query?: {
    owner?: ApiKeyOwner | undefined;
    limit?: number | undefined;
    after?: string | undefined;
  }): Promise<ApiKey[]>;
  /** As the database has it: on a hot path use `find`. */
  show(id: string): Promise<ApiKey | undefined>;
  update(id: string, patch: ApiKeyPatch, by?: AuditContext): Promise<Changed | ApiKeyRefusal>;
  /**
   * A new secret for the same id. The one before it lives for `overlapSeconds` (a day unless told, 0: dead at once, 30 days
   * at most); one that is older is dead.
   */
  roll(id: string, options?: { overlapSeconds?: number | undefined }, by?: AuditContext): Promise<Made | ApiKeyRefusal>;
  disable(id: string, by?: AuditContext): Promise<Changed | ApiKeyRefusal>;
  enable(id: string, by?: AuditContext): Promise<Changed | ApiKeyRefusal>;
  /** For good. One that is revoked already stays as it is. */
  revoke(id: string, by?: AuditContext): Promise<Changed | ApiKeyRefusal>;
  /**
   * Asks for one use of a live key, and counts it where it is allowed; no statement is waited for. Uses of this process are
   * written in batches, and what others have used meanwhile comes back with them: a quota may be exceeded by what all
   * nodes allow within one flush interval. A rate holds per process.
   */
  allow(apiKey: ApiKey, use: ApiKeyUse): ApiKeyVerdict;
  /**
   * What was used per key, API and day, as written by all nodes so far, in the order of days.
   *
   * @param whose one key, or all keys of an owner
   * @param days first and last day (UTC) as 2026-11-25
   */
  usage(whose: { id: string } | { owner: ApiKeyOwner }, days: { from: string; to: string }): Promise<ApiKeyUsage[]>;
  /** Removes counts that are older than they are kept for. @returns how many, at most `batchSize`; fewer: no more */
  sweep(batchSize: number): Promise<number>;
  /** Writes the uses that were allowed before. @throws the database's fault; nothing is lost by it */
  flush(): Promise<void>;
  /** Flushes for the last time; to be called when nobody uses a key any more and before the database closes. */
  close(): Promise<void>;
}>;
