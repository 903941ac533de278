import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { toClientNetwork } from './client-network.ts';

const WINDOW_SECONDS = 60;
/** A host of many agents has a document for each, which serves for minutes; more than this is somebody who makes up URLs. */
const PER_HOST = 30;
/** An office of people who all begin with a new agent. */
const PER_ADDRESS = 20;

export type DocumentFetchLimits = Readonly<{
  /** @returns whether a host may be asked now, for whoever is at this address; where it may not, nothing is taken from the host */
  take(host: string, askedFrom: string | undefined): Promise<boolean>;
}>;

/**
 * How often a browser may make this server ask somebody else's: by minute, by the host that is asked and by the address of
 * whoever wants it. Counted by each process in its memory, as what is held against it is what this process sends.
 */
export function createDocumentFetchLimits(): DocumentFetchLimits {
  const byHost = new RateLimiterMemory({ keyPrefix: 'document-host', points: PER_HOST, duration: WINDOW_SECONDS });
  const byAddress = new RateLimiterMemory({
    keyPrefix: 'document-from',
    points: PER_ADDRESS,
    duration: WINDOW_SECONDS,
  });
  return Object.freeze({
    async take(host: string, askedFrom: string | undefined) {
      const from = askedFrom === undefined ? 'nobody' : toClientNetwork(askedFrom);
      return (await taken(byAddress, from)) && (await taken(byHost, host));
    },
  });
}

async function taken(limiter: RateLimiterMemory, key: string): Promise<boolean> {
  try {
    await limiter.consume(key);
    return true;
  } catch (error) {
    if (error instanceof RateLimiterRes) return false;
    throw error;
  }
}
