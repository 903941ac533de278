import type { Clock } from '../config/index.ts';
import { oneAtATime } from '../database/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { isWithin } from './address-ranges.ts';
import type { ApiKey } from './api-key.ts';
import type { ApiKeyIncrements, ApiKeyTotal } from './api-key-counts-store.ts';
import type { ApiKeyUse, ApiKeyVerdict, QuotaState } from './api-key-use.ts';
import { createPendingUses, type PendingUses } from './pending-uses.ts';
import { isSameWindow, type QuotaWindow, quotaWindowAt } from './quota-window.ts';
import { fullBucket, type RateBucket, takeFrom, waitOf } from './rate-bucket.ts';

/** Allows and counts uses in memory; what was counted is written in batches. */
export type UseMeter = Readonly<{
  /** See `ApiKeys.allow`. */
  allow(apiKey: ApiKey, use: ApiKeyUse): ApiKeyVerdict;
  /** Writes what was counted before. @throws the fault of `write`; what was not written stays */
  flush(): Promise<void>;
  /** Writes what was counted before, once; what can't be written then is lost and said in the log. */
  close(): Promise<void>;
  /** Answers since the start, by outcome. */
  counts(): UseCounts;
}>;

type UseOutcome = 'allowed' | Extract<ApiKeyVerdict, { ok: false }>['reason'];
export type UseCounts = Readonly<Record<UseOutcome, number>>;

/** What this process knows of one key's limits. */
type LimitState = {
  window: QuotaWindow;
  /** What the database said of the window last. */
  known: number;
  bucket: RateBucket | undefined;
  usedAt: number;
};

/** About 200 bytes each. Of a key that was pushed out, the use in its window is learnt again with its next flush. */
const MAX_STATES = 100_000;
/** Keys per statement, which stays far from its time limit. */
const BATCH_SIZE = 1_000;
/** A bucket is full after a second; then nothing is forgotten with it. */
const IDLE_MS = 1_000;

const UNLIMITED: ApiKeyVerdict = Object.freeze({ ok: true, quota: undefined });

/**
 * @param options.flushSeconds how long a use may wait to be written: what a process that is killed loses, and what bounds
 *   by how much several nodes together may exceed a quota
 */
export function createUseMeter(options: {
  write(increments: readonly ApiKeyIncrements[]): Promise<readonly ApiKeyTotal[]>;
  flushSeconds: number;
  clock: Clock;
  logger: Logger;
}): UseMeter {
  const { write, clock, logger } = options;
  /** In the order of their last use. */
  const states = new Map<string, LimitState>();
  const counts: Record<UseOutcome, number> = {
    allowed: 0,
    quota_exceeded: 0,
    rate_exceeded: 0,
    address_not_allowed: 0,
    address_required: 0,
  };
  let pending = createPendingUses();
  /** What is being written. */
  let inFlight: PendingUses = createPendingUses();
  let isAway = false;
  let isClosed = false;
  let timer: NodeJS.Timeout | undefined;
  const flush = oneAtATime(writeAll);

  function decide(apiKey: ApiKey, use: ApiKeyUse, now: number): ApiKeyVerdict {
    const { allowedAddresses, quota, ratePerSecond } = apiKey;
    if (allowedAddresses.length > 0) {
      if (use.address === undefined) return { ok: false, reason: 'address_required' };
      if (!isWithin(allowedAddresses, use.address)) return { ok: false, reason: 'address_not_allowed' };
    }
    const window = quotaWindowAt(quota?.windowSeconds, now);
    if (quota === undefined && ratePerSecond === undefined) {
      pending.add(apiKey.id, window, { ...use, at: now });
      return UNLIMITED;
    }
    const state = stateOf(apiKey, window, now);
    const used = quota === undefined ? 0 : usedIn(apiKey.id, state);
    if (quota !== undefined && used >= quota.requests) {
      const standing = quotaState(quota, used, window, now);
      return { ok: false, reason: 'quota_exceeded', retryAfterSeconds: standing.resetSeconds, quota: standing };
    }
    const waitMs = state.bucket && ratePerSecond !== undefined ? waitOf(state.bucket, ratePerSecond, now) : 0;
    if (waitMs > 0) {
      return {
        ok: false,
        reason: 'rate_exceeded',
        retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1_000)),
        quota: quota && quotaState(quota, used, window, now),
      };
    }
    if (state.bucket) takeFrom(state.bucket);
    pending.add(apiKey.id, window, { ...use, at: now });
    return { ok: true, quota: quota && quotaState(quota, used + 1, window, now) };
  }

  function stateOf({ id, ratePerSecond }: ApiKey, window: QuotaWindow, now: number): LimitState {
    const before = states.get(id);
    const known = before !== undefined && isSameWindow(before.window, window) ? before.known : 0;
    const bucket = ratePerSecond === undefined ? undefined : (before?.bucket ?? fullBucket(ratePerSecond, now));
    const state = { window, known, bucket, usedAt: now };
    states.delete(id);
    states.set(id, state);
    if (states.size > MAX_STATES) {
      const [leastUsed = ''] = states.keys();
      states.delete(leastUsed);
    }
    return state;
  }

  function usedIn(id: string, { window, known }: LimitState): number {
    return known + pending.usedIn(id, window) + inFlight.usedIn(id, window);
  }

  function wakeUp(): void {
    if (isClosed || timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      void flush().catch(() => undefined);
    }, options.flushSeconds * 1_000);
    timer.unref();
  }

  async function writeAll(): Promise<void> {
    forgetIdle(clock());
    inFlight = pending;
    pending = createPendingUses();
    try {
      for (let batch = inFlight.first(BATCH_SIZE); batch.length > 0; batch = inFlight.first(BATCH_SIZE)) {
        const totals = await write(batch);
        // In one turn of the loop: what is known now is not counted as under way any more.
        for (const { id } of batch) inFlight.remove(id);
        learn(batch, totals);
      }
      if (isAway) logger.info('uses of API keys are written again');
      isAway = false;
    } catch (error) {
      if (!isAway) logger.warn({ err: error }, 'uses of API keys wait for the database');
      isAway = true;
      // A batch whose answer was lost with its connection is counted twice, and none is lost.
      pending.addAll(inFlight);
      throw error;
    } finally {
      inFlight = createPendingUses();
      if (pending.size() > 0) wakeUp();
    }
  }

  function learn(written: readonly ApiKeyIncrements[], totals: readonly ApiKeyTotal[]): void {
    const totalOf = new Map(totals.map((total) => [total.id, total]));
    for (const { id, window, used } of written) {
      const state = states.get(id);
      if (state === undefined || !isSameWindow(state.window, window)) continue;
      const total = totalOf.get(id);
      // A node whose clock is ahead may count in the next window already: until then we know our own use alone.
      const isOfThis = total !== undefined && isSameWindow(total.window, window);
      state.known = isOfThis ? total.used : state.known + used;
    }
  }

  function forgetIdle(now: number): void {
    for (const [id, { window, usedAt }] of states) {
      if (now - usedAt < IDLE_MS) return;
      if (now >= (window.startsAt + window.windowSeconds) * 1_000) states.delete(id);
    }
  }

  return Object.freeze({
    allow(apiKey: ApiKey, use: ApiKeyUse) {
      const verdict = decide(apiKey, use, clock());
      counts[verdict.ok ? 'allowed' : verdict.reason] += 1;
      if (verdict.ok) wakeUp();
      return verdict;
    },
    flush,
    async close() {
      isClosed = true;
      clearTimeout(timer);
      await flush().catch(() => undefined);
      if (pending.size() > 0) logger.error({ keys: pending.size() }, 'uses of API keys were lost');
    },
    counts: () => ({ ...counts }),
  });
}

function quotaState(
  { requests, windowSeconds }: NonNullable<ApiKey['quota']>,
  used: number,
  { startsAt }: QuotaWindow,
  now: number,
): QuotaState {
  return {
    requests,
    windowSeconds,
    remaining: Math.max(0, requests - used),
    resetSeconds: Math.max(1, Math.ceil(startsAt + windowSeconds - now / 1_000)),
  };
}
