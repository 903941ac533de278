import type { Knex } from 'knex';
import type { AuditContext } from '../audit/index.ts';
import type { Clock } from '../config/index.ts';
import { type ChangeFeed, createChangeCache } from '../database/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { ApiKey, ApiKeyOwner, ApiKeyPatch, ApiKeyRefusal, NewApiKey } from './api-key.ts';
import type { ApiKeyAudit } from './api-key-audit.ts';
import { addIncrements, deleteUsageBefore, readUsage } from './api-key-counts-store.ts';
import { matchesEither, secretDigest } from './api-key-secret.ts';
import type { ApiKeyUsage, ApiKeyUse, ApiKeyVerdict } from './api-key-use.ts';
import { formatApiKey, generateApiKeyId, generateApiKeySecret, isApiKeyId, isApiKeySecret } from './api-key-value.ts';
import {
  findApiKey,
  insertApiKey,
  isOwnerGone,
  listApiKeys,
  listIdsNaming,
  removeApiKeysOf,
  type StoredApiKey,
  updateApiKey,
} from './api-keys-store.ts';
import { type Changed, createApiKeyChanges, readBack } from './change-api-key.ts';
import { checkPurpose, checkSettings, invalid, notFound } from './check-api-key.ts';
import { toDay } from './day.ts';
import type { ApiKeyOwners } from './owners.ts';
import type { UseCounts } from './use-meter.ts';
import { createUseMeters } from './use-meters.ts';

/** `key` is shown this once. */
type Made = Changed & { key: string };
/** `previousUntil`: when the secret before it ends; left out: it is dead. */
type Rolled = Made & { previousUntil?: Date };

/**
 * API keys. A refusal is returned, with its reason; a database that is away throws. `by` says who wants a change, for the
 * audit trail; left out: whoever these keys were composed for.
 */
export type ApiKeys = Readonly<{
  /** Never more than its owner has: unknown owners, scopes and APIs are refused, and scopes of OpenID Connect. */
  create(input: NewApiKey, by?: AuditContext): Promise<Made | ApiKeyRefusal>;
  /**
   * From memory where possible: at most 750 ms old, or dropped at once by the change feed. Finds what is revoked, disabled
   * or expired, too: whoever uses it asks `isLive`, and looks after the owner.
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
  roll(
    id: string,
    options?: { overlapSeconds?: number | undefined },
    by?: AuditContext,
  ): Promise<Rolled | ApiKeyRefusal>;
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
  /**
   * Removes the keys of an owner who is being deleted, in the transaction that does so, with an audit event each. Nodes hear
   * of it when it commits.
   */
  removeOf(trx: Knex, owner: ApiKeyOwner): Promise<void>;
  /** The ids of keys that are for an API and not revoked, in their order, as the transaction sees them. */
  idsNaming(trx: Knex, api: string): Promise<string[]>;
  /** Removes counts that are older than they are kept for. @returns how many, at most `batchSize`; fewer: no more */
  sweep(batchSize: number): Promise<number>;
  /** Writes the uses that were allowed before. @throws the database's fault; nothing is lost by it */
  flush(): Promise<void>;
  /** Flushes for the last time; to be called when nobody uses a key any more and before the database closes. */
  close(): Promise<void>;
  /** Answers of `allow` since the start, by outcome. */
  counts(): UseCounts;
}>;

const DAY_SECONDS = 24 * 60 * 60;
/** Long enough to bring a new key to where the old one is used, within a working day. */
const DEFAULT_OVERLAP_SECONDS = DAY_SECONDS;
const MAX_OVERLAP_SECONDS = 30 * DAY_SECONDS;
/** A year can be compared with the one before it, with a month to do so. */
const USAGE_KEPT_DAYS = 400;

/**
 * Makes the API keys of one database.
 *
 * @param dependencies.audit told of every change within its transaction: what can't be recorded doesn't happen
 * @param dependencies.owners asked when a key is made
 * @param dependencies.flushSeconds how long a use may wait to be written
 */
export function createApiKeys(dependencies: {
  knex: Knex;
  clock: Clock;
  changeFeed: Pick<ChangeFeed, 'subscribe' | 'isCurrent'>;
  audit: ApiKeyAudit;
  owners: ApiKeyOwners;
  flushSeconds: number;
  logger: Logger;
}): ApiKeys {
  const { knex, clock, changeFeed, audit, owners, flushSeconds, logger } = dependencies;
  const cache = createChangeCache<StoredApiKey>({
    lookUp: (id) => findApiKey(knex, id),
    isTold: changeFeed.isCurrent,
    clock,
  });
  changeFeed.subscribe('api-keys', (id) => cache.drop(id));
  const { change, record } = createApiKeyChanges({ knex, audit, forget: cache.drop });
  const meter = createUseMeters({
    write: (increments) => addIncrements(knex, increments),
    flushSeconds,
    clock,
    logger,
  });
  const now = () => new Date(clock());

  async function create(input: NewApiKey, by?: AuditContext): Promise<Made | ApiKeyRefusal> {
    const { name, expiresAt, allowedAddresses = [], quota, ratePerSecond } = input;
    const checked = checkSettings({ name, expiresAt, allowedAddresses, quota, ratePerSecond }, clock());
    if (!checked.ok) return checked;
    const held = await checkPurpose(input, owners);
    if (!held.ok) return held;
    const id = generateApiKeyId();
    const secret = generateApiKeySecret(id);
    try {
      return await knex.transaction(async (trx) => {
        const { settings } = checked;
        // Under a lock: a key of an API that has gone would be alive again for the next one of that name.
        const goneApi = await owners.holdApis(trx, held.purpose.apis);
        if (goneApi !== undefined) return invalid('apis', `no API ${goneApi} is registered`);
        await insertApiKey(trx, { id, settings, purpose: held.purpose, digest: secretDigest(secret), at: now() });
        await record(trx, { action: 'created', id, owner: held.purpose.owner }, by);
        return { ok: true, apiKey: await readBack(trx, id), key: formatApiKey({ id, secret }) } as const;
      });
    } catch (error) {
      if (isOwnerGone(error)) return notFound('the owner has been deleted meanwhile');
      throw error;
    } finally {
      cache.drop(id);
    }
  }

  async function update(id: string, patch: ApiKeyPatch, by?: AuditContext): Promise<Changed | ApiKeyRefusal> {
    return change(id, 'updated', by, async (trx, { apiKey }) => {
      const settings = {
        name: patch.name ?? apiKey.name,
        expiresAt: patched(apiKey.expiresAt, patch.expiresAt),
        allowedAddresses: patch.allowedAddresses ?? apiKey.allowedAddresses,
        quota: patched(apiKey.quota, patch.quota),
        ratePerSecond: patched(apiKey.ratePerSecond, patch.ratePerSecond),
      };
      const checked = checkSettings(settings, clock(), apiKey);
      if (!checked.ok) return checked;
      await updateApiKey(trx, id, { settings: checked.settings }, now());
      return 'changed';
    });
  }

  async function roll(
    id: string,
    { overlapSeconds = DEFAULT_OVERLAP_SECONDS }: { overlapSeconds?: number | undefined } = {},
    by?: AuditContext,
  ): Promise<Rolled | ApiKeyRefusal> {
    if (!Number.isInteger(overlapSeconds) || overlapSeconds < 0 || overlapSeconds > MAX_OVERLAP_SECONDS) {
      return invalid('overlapSeconds', `wants a whole number from 0 to ${MAX_OVERLAP_SECONDS}`);
    }
    const secret = generateApiKeySecret(id);
    const until = overlapSeconds === 0 ? undefined : new Date(clock() + overlapSeconds * 1_000);
    const rolled = await change(id, 'rolled', by, async (trx, stored) => {
      const previous = until && { digest: stored.digest, until };
      await updateApiKey(trx, id, { secrets: { digest: secretDigest(secret), previous } }, now());
      return 'changed';
    });
    if (!rolled.ok) return rolled;
    return { ...rolled, key: formatApiKey({ id, secret }), ...(until && { previousUntil: until }) };
  }

  function setDisabled(id: string, isDisabled: boolean, by?: AuditContext): Promise<Changed | ApiKeyRefusal> {
    return change(id, isDisabled ? 'disabled' : 'enabled', by, async (trx, { apiKey }) => {
      if (apiKey.isDisabled === isDisabled) return 'unchanged';
      await updateApiKey(trx, id, { isDisabled }, now());
      return 'changed';
    });
  }

  async function revoke(id: string, by?: AuditContext): Promise<Changed | ApiKeyRefusal> {
    const revoked = await change(id, 'revoked', by, async (trx) => {
      await updateApiKey(trx, id, { revokedAt: now() }, now());
      return 'changed';
    });
    // Whoever does it twice has what they want.
    if (revoked.ok || revoked.code !== 'revoked') return revoked;
    return { ok: true, apiKey: await readBack(knex, id) };
  }

  return Object.freeze<ApiKeys>({
    create,
    find: async (id) => (isApiKeyId(id) ? (await cache.get(id))?.apiKey : undefined),
    async verify(id, secret) {
      if (!isApiKeySecret(id, secret)) return false;
      const stored = await cache.get(id);
      const previous = stored?.previous;
      const isOverlapping = previous !== undefined && clock() < previous.until.getTime();
      return matchesEither(secret, {
        current: stored?.digest,
        previous: isOverlapping ? previous.digest : undefined,
      });
    },
    list: (query = {}) => listApiKeys(knex, query),
    show: async (id) => (isApiKeyId(id) ? (await findApiKey(knex, id))?.apiKey : undefined),
    update,
    roll,
    disable: (id, by) => setDisabled(id, true, by),
    enable: (id, by) => setDisabled(id, false, by),
    revoke,
    allow: meter.allow,
    usage: (whose, days) => readUsage(knex, whose, days),
    async removeOf(trx, owner) {
      for (const id of await removeApiKeysOf(trx, owner))
        await record(trx, { action: 'revoked', id, owner }, undefined);
    },
    idsNaming: listIdsNaming,
    sweep(batchSize) {
      const before = toDay(clock() - USAGE_KEPT_DAYS * DAY_SECONDS * 1_000);
      return deleteUsageBefore(knex, { size: batchSize, before });
    },
    flush: meter.flush,
    close: meter.close,
    counts: meter.counts,
  });
}

/** `null` takes away, what is not named stays. */
function patched<T>(before: T | undefined, given: T | null | undefined): T | undefined {
  return given === undefined ? before : (given ?? undefined);
}
