import type { Metrics } from '../telemetry/index.ts';
import type { RequestRecord } from './observe-requests.ts';

const MS_PER_SECOND = 1_000;

/** Counts and times a request that has ended, and what became of a token request. */
export function createRequestMetrics({
  metrics,
}: {
  metrics: Pick<Metrics, 'countRequest' | 'countTokenRequest'>;
}): (record: RequestRecord) => void {
  return ({ endpoint, method, status, grantType, error, durationMs }) => {
    metrics.countRequest({ endpoint, method, status, durationSeconds: durationMs / MS_PER_SECOND });
    // A preflight (OPTIONS) asks for no token.
    if (endpoint === 'token' && method === 'POST') metrics.countTokenRequest({ grantType, status, error });
  };
}
