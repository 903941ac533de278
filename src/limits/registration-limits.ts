import type pg from 'pg';
import { RateLimiterRes } from 'rate-limiter-flexible';
import type { Logger } from '../telemetry/index.ts';
import { createAttemptsCounter, secondsUntilOver } from './attempts-counter.ts';
import { createAttemptsClient } from './attempts-store.ts';
import { toClientNetwork } from './client-network.ts';
import { createPseudonyms } from './pseudonyms.ts';

const WINDOW_SECONDS = 3_600;

/** How often an address may register a client, or change one (RFC 7591, section 5): each makes the server store, and maybe call others. */
export type RegistrationLimits = Readonly<{
  take(address: string): Promise<Readonly<{ isAllowed: true } | { isAllowed: false; retryAfterSeconds: number }>>;
}>;

/** @param options.pseudonymKey see `createPseudonyms`: the counters don't tell who registered */
export function createRegistrationLimits(options: {
  pool: Pick<pg.Pool, 'query'>;
  /** In an hour. */
  perAddress: number;
  pseudonymKey: Buffer;
  logger: Logger;
}): RegistrationLimits {
  const { pool, perAddress, pseudonymKey, logger } = options;
  const counter = createAttemptsCounter(createAttemptsClient(pool, logger), {
    keyPrefix: 'registration',
    points: perAddress,
    windowSeconds: WINDOW_SECONDS,
  });
  const pseudonym = createPseudonyms(pseudonymKey);
  return Object.freeze<RegistrationLimits>({
    async take(address) {
      try {
        await counter.consume(pseudonym('address', toClientNetwork(address)));
        return { isAllowed: true };
      } catch (error) {
        if (error instanceof RateLimiterRes) return { isAllowed: false, retryAfterSeconds: secondsUntilOver(error) };
        throw error;
      }
    },
  });
}
