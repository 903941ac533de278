import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { type RateLimiterAbstract, RateLimiterRes } from 'rate-limiter-flexible';
import type { Config } from '../config/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createAttemptsCounter, secondsUntilOver } from './attempts-counter.ts';
import { createAttemptsClient, deleteExpired } from './attempts-store.ts';
import { toClientNetwork } from './client-network.ts';
import { createPseudonyms } from './pseudonyms.ts';

/** `login` as it was typed, whether anyone has that name or not; `address` is the client's, IPv4 or IPv6. */
export type SignInAttempt = Readonly<{ login: string; address: string }>;
type SignInDecision = Readonly<
  | { isAllowed: true }
  | {
      isAllowed: false;
      retryAfterSeconds: number;
      reason: 'too_many_for_account' | 'too_many_for_address';
      /** Whether it is the first for this reason in its window, so that whoever notes it notes it once. */
      isFirst: boolean;
    }
>;
type Refusal = Extract<SignInDecision, { isAllowed: false }>;

/**
 * Every attempt goes `check` → verify the password → exactly one of `failed`, `succeeded`, `undecided`. None of them throws
 * for the database: while it is away, this process counts in its own memory.
 */
export type SignInLimits = Readonly<{
  /**
   * Takes one of the attempts of this name from this address, and one of this address over all names, before the password
   * is looked at, so that guesses sent at once can't all pass before the first has failed. An attempt that is never
   * reported on stays taken. What is refused already is only looked at: a blocked address that goes on with ever new names
   * leaves no trace of them.
   *
   * Where other addresses have failed at the same name, it answers late, by 4 s at the most, and never refuses for that:
   * nobody can lock a person out from elsewhere. Addresses from which that name has signed in before don't wait.
   */
  check(attempt: SignInAttempt): Promise<SignInDecision>;
  /** The password was wrong: what `check` took stays taken, and the name is slower from unknown addresses. */
  failed(attempt: SignInAttempt): Promise<void>;
  /** The name starts afresh from this address, which is known from now on; the address has back the one attempt it took. */
  succeeded(attempt: SignInAttempt): Promise<void>;
  /** The password was not looked at (a fault, an overload): gives back what `check` took. */
  undecided(attempt: SignInAttempt): Promise<void>;
  /** How many sign-ins have failed in the window from the network of an address, over all names. */
  failuresFrom(address: string): Promise<number>;
  /** Removes counters that count no more. @returns how many, at most `batchSize`; fewer: there are no more */
  sweep(batchSize: number): Promise<number>;
}>;

const FIRST_WAIT_MS = 250;
/** A person bears it, and so do browsers and proxies; a longer one would let an attacker pile up open requests. */
const MAX_WAIT_MS = 4_000;
/** How long an address is remembered as one that a name signs in from: longer than a session, so that a return is spared. */
const KNOWN_ADDRESS_SECONDS = 21 * 24 * 60 * 60;

/**
 * @param options.pseudonymKey see `createPseudonyms`: the counters don't tell who tried what from where
 * @param options.wait replaced in tests, which don't sleep
 */
export function createSignInLimits(options: {
  pool: Pick<pg.Pool, 'query'>;
  limits: Config['signInLimits'];
  pseudonymKey: Buffer;
  logger: Logger;
  wait?: ((milliseconds: number) => Promise<unknown>) | undefined;
}): SignInLimits {
  const { pool, limits, pseudonymKey, logger, wait = sleep } = options;
  const pseudonym = createPseudonyms(pseudonymKey);
  const client = createAttemptsClient(pool, logger);

  const counter = (keyPrefix: string, points: number, windowSeconds: number) =>
    createAttemptsCounter(client, { keyPrefix, points, windowSeconds });
  const byNameAndAddress = counter('name+address', limits.attemptsPerAccount, limits.windowSeconds);
  const byAddress = counter('address', limits.attemptsPerAddress, limits.windowSeconds);
  const failuresByName = counter('failures', limits.attemptsPerAccount, limits.windowSeconds);
  const knownAddresses = counter('known', 1, KNOWN_ADDRESS_SECONDS);

  /**
   * Two names of one person are counted apart: were they one, trying both would tell that they belong together, and so that
   * the account exists.
   */
  function keysOf(attempt: SignInAttempt) {
    const name = attempt.login.trim().toLowerCase();
    const network = toClientNetwork(attempt.address);
    return { name: pseudonym('name', name), network: pseudonym('address', network), both: pseudonym(name, network) };
  }

  async function waitMilliseconds(keys: { name: string; both: string }): Promise<number> {
    const failures = (await failuresByName.get(keys.name))?.consumedPoints ?? 0;
    // As many mistakes as one person may make go by without a wait.
    const excess = failures - limits.attemptsPerAccount;
    if (excess < 0 || (await knownAddresses.get(keys.both)) !== null) return 0;
    return Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** excess);
  }

  return Object.freeze<SignInLimits>({
    async check(attempt) {
      const keys = keysOf(attempt);
      const known =
        (await standingRefusal(byAddress, keys.network, 'too_many_for_address')) ??
        (await standingRefusal(byNameAndAddress, keys.both, 'too_many_for_account'));
      if (known !== undefined) return known;
      const ofName = await take(byNameAndAddress, keys.both, 'too_many_for_account');
      // What is refused here takes nothing from the address: one person's stubbornness must not block their whole office.
      if (!ofName.isAllowed) return ofName;
      const ofAddress = await take(byAddress, keys.network, 'too_many_for_address');
      if (!ofAddress.isAllowed) {
        await byNameAndAddress.reward(keys.both);
        return ofAddress;
      }
      const milliseconds = await waitMilliseconds(keys);
      if (milliseconds > 0) await wait(milliseconds);
      return { isAllowed: true };
    },
    async failed(attempt) {
      await failuresByName.penalty(keysOf(attempt).name);
    },
    async succeeded(attempt) {
      const keys = keysOf(attempt);
      await Promise.all([
        byNameAndAddress.delete(keys.both),
        byAddress.reward(keys.network),
        knownAddresses.set(keys.both, 1, KNOWN_ADDRESS_SECONDS),
      ]);
    },
    async undecided(attempt) {
      const keys = keysOf(attempt);
      await Promise.all([byNameAndAddress.reward(keys.both), byAddress.reward(keys.network)]);
    },
    async failuresFrom(address) {
      return (await byAddress.get(pseudonym('address', toClientNetwork(address))))?.consumedPoints ?? 0;
    },
    sweep: (batchSize) => deleteExpired(pool, { size: batchSize, before: Date.now() }),
  });
}

/** The refusal that an earlier attempt has met, without taking anything; the first one meets it in `take`. */
async function standingRefusal(
  counter: RateLimiterAbstract,
  key: string,
  reason: Refusal['reason'],
): Promise<Refusal | undefined> {
  const count = await counter.get(key);
  return count !== null && count.consumedPoints > counter.points ? refusalOf(count, reason, false) : undefined;
}

async function take(counter: RateLimiterAbstract, key: string, reason: Refusal['reason']): Promise<SignInDecision> {
  try {
    await counter.consume(key);
    return { isAllowed: true };
  } catch (refusal) {
    if (!(refusal instanceof RateLimiterRes)) throw refusal;
    return refusalOf(refusal, reason, refusal.consumedPoints === counter.points + 1);
  }
}

function refusalOf(count: RateLimiterRes, reason: Refusal['reason'], isFirst: boolean): Refusal {
  return { isAllowed: false, reason, isFirst, retryAfterSeconds: secondsUntilOver(count) };
}
