import { createUseMeter, type UseMeter } from './use-meter.ts';

/**
 * Nobody's limit hangs on how soon the use of a key without a quota is written. Where thousands of keys are in use, each has
 * a row to write per flush: at the pace of the others this cost a third of the tokens that the same database could issue.
 */
const UNHURRIED_PACE = 10;

/**
 * Meters for all keys: the uses of those with a quota are written at the pace that is asked for, which bounds by how much
 * several nodes may exceed one; those of all others ten times as slowly.
 *
 * @param options.flushSeconds as for a meter alone
 */
export function createUseMeters(options: Parameters<typeof createUseMeter>[0]): UseMeter {
  const hurried = createUseMeter(options);
  const unhurried = createUseMeter({ ...options, flushSeconds: options.flushSeconds * UNHURRIED_PACE });
  return Object.freeze<UseMeter>({
    allow: (apiKey, use) => (apiKey.quota === undefined ? unhurried : hurried).allow(apiKey, use),
    async flush() {
      await Promise.all([hurried.flush(), unhurried.flush()]);
    },
    async close() {
      await Promise.all([hurried.close(), unhurried.close()]);
    },
    counts() {
      const [some, others] = [hurried.counts(), unhurried.counts()];
      return {
        allowed: some.allowed + others.allowed,
        quota_exceeded: some.quota_exceeded + others.quota_exceeded,
        rate_exceeded: some.rate_exceeded + others.rate_exceeded,
        address_not_allowed: some.address_not_allowed + others.address_not_allowed,
        address_required: some.address_required + others.address_required,
      };
    },
  });
}
