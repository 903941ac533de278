import type pg from 'pg';
import { type RateLimiterAbstract, RateLimiterRes } from 'rate-limiter-flexible';
import type { Config } from '../config/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createAttemptsCounter, secondsUntilOver } from './attempts-counter.ts';
import { createAttemptsClient } from './attempts-store.ts';
import { toClientNetwork, toClientSite } from './client-network.ts';
import { takePoll } from './poll-pace-store.ts';
import { createPseudonyms } from './pseudonyms.ts';

type UserCodeDecision = Readonly<
  | { isAllowed: true }
  | {
      isAllowed: false;
      retryAfterSeconds: number;
      /** Whether it is the first in its window, so that whoever notes it notes it once. */
      isFirst: boolean;
    }
>;

/**
 * How often a user code may be tried, and how often a device may ask (RFC 8628, sections 5.1 and 3.5). While the database
 * is away, tries are counted in this process's own memory; polls are not answered at all.
 */
export type DeviceLimits = Readonly<{
  /**
   * Takes one of the tries of an address, before the code is looked up, so that guesses sent at once are counted, too.
   * Beyond a number of wrong codes from everywhere, each address has fewer. The addresses of an IPv6 /48 have together
   * eight times the tries of one. So a crowd is slowed and not stopped: it gets as far as it has IPv4 addresses and /48s, and
   * whoever holds a /32 has 65,536 of these. Who types their code right uses up nothing, and waits only where others used up
   * the tries of their address or /48.
   */
  tryUserCode(address: string): Promise<UserCodeDecision>;
  /** The code was right, or nobody looked: gives the try back. */
  giveBack(address: string): Promise<void>;
  /** There is no such code: what was taken stays taken, and counts for all addresses together. */
  wasWrong(): Promise<void>;
  /** Whether this device code may be asked about now: once in its interval, on whatever nodes. @throws while the database is away */
  mayPoll(deviceCode: string): Promise<boolean>;
}>;

/** What a device is told to wait between two polls: the default of RFC 8628, section 3.2. */
export const POLL_INTERVAL_SECONDS = 5;
/** A poll that is made in time may overtake the one before it on the way. */
const POLL_TOLERANCE_MS = 1_000;
/** More than people mistype on a large server; so many guesses at 2,500 pending codes hit one in 1 of 10,000 cases. */
const WRONG_CODES_BEFORE_STRICT = 1_000;
/** What one person's typing errors come to. */
const STRICT_TRIES = 3;
/** More than one, so that a neighbour can't use up a /48 from one /64; few, so that a /48 is no crowd of 65,536. */
const ADDRESSES_WORTH_A_SITE = 8;

/**
 * @param options.pseudonymKey see `createPseudonyms`: the counters don't tell who tried
 * @param options.wrongCodesBeforeStrict replaced in tests
 */
export function createDeviceLimits(options: {
  pool: Pick<pg.Pool, 'query'>;
  limits: Config['userCodeLimits'];
  pseudonymKey: Buffer;
  logger: Logger;
  wrongCodesBeforeStrict?: number | undefined;
}): DeviceLimits {
  const { pool, limits, pseudonymKey, logger, wrongCodesBeforeStrict = WRONG_CODES_BEFORE_STRICT } = options;
  const { attemptsPerAddress, windowSeconds } = limits;
  const client = createAttemptsClient(pool, logger);
  const byAddress = createAttemptsCounter(client, {
    keyPrefix: 'user-code',
    points: attemptsPerAddress,
    windowSeconds,
  });
  const bySite = createAttemptsCounter(client, {
    keyPrefix: 'user-code-site',
    points: ADDRESSES_WORTH_A_SITE * attemptsPerAddress,
    windowSeconds,
  });
  const wrongCodes = createAttemptsCounter(client, {
    keyPrefix: 'wrong-user-codes',
    points: wrongCodesBeforeStrict,
    windowSeconds,
  });
  const pseudonym = createPseudonyms(pseudonymKey);

  function keysOf(address: string) {
    const site = toClientSite(address);
    return {
      ofAddress: pseudonym('address', toClientNetwork(address)),
      ofSite: site === undefined ? undefined : pseudonym('site', site),
    };
  }

  async function triesOfEach(): Promise<number> {
    const wrong = (await wrongCodes.get('all'))?.consumedPoints ?? 0;
    return wrong < wrongCodesBeforeStrict ? attemptsPerAddress : Math.min(STRICT_TRIES, attemptsPerAddress);
  }

  return Object.freeze<DeviceLimits>({
    async tryUserCode(address) {
      const tries = await triesOfEach();
      const { ofAddress, ofSite } = keysOf(address);
      if (ofSite === undefined) return take(byAddress, ofAddress, tries);

      const triesOfSite = ADDRESSES_WORTH_A_SITE * tries;
      // Only looked at: a blocked site that goes on from ever new addresses leaves no trace of them.
      const standing = await bySite.get(ofSite);
      if (standing !== null && standing.consumedPoints > triesOfSite) return refusalOf(standing, false);
      const decision = await take(byAddress, ofAddress, tries);
      // What is refused here takes nothing from the site: an address that goes on must not block its neighbours.
      if (!decision.isAllowed) return decision;
      const decisionOnSite = await take(bySite, ofSite, triesOfSite);
      if (!decisionOnSite.isAllowed) await byAddress.reward(ofAddress);
      return decisionOnSite;
    },
    async giveBack(address) {
      const { ofAddress, ofSite } = keysOf(address);
      await Promise.all([byAddress.reward(ofAddress), ofSite === undefined ? undefined : bySite.reward(ofSite)]);
    },
    async wasWrong() {
      await wrongCodes.penalty('all');
    },
    mayPoll: (deviceCode) =>
      takePoll(pool, {
        key: `poll:${pseudonym('device code', deviceCode)}`,
        paceMilliseconds: POLL_INTERVAL_SECONDS * 1_000 - POLL_TOLERANCE_MS,
      }),
  });
}

/** @param tries may be fewer than the points of the counter */
async function take(counter: RateLimiterAbstract, key: string, tries: number): Promise<UserCodeDecision> {
  const count = await counter.consume(key).catch((refusal: unknown) => {
    if (refusal instanceof RateLimiterRes) return refusal;
    throw refusal;
  });
  if (count.consumedPoints <= tries) return { isAllowed: true };
  return refusalOf(count, count.consumedPoints === tries + 1);
}

function refusalOf(count: RateLimiterRes, isFirst: boolean): UserCodeDecision {
  return { isAllowed: false, isFirst, retryAfterSeconds: secondsUntilOver(count) };
}
