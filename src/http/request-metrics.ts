import type { Middleware } from 'koa';
import { type Metrics, outcomeOf } from '../telemetry/index.ts';
import { endpointOfPath } from './endpoint-of-path.ts';

const MS_PER_SECOND = 1_000;

/** Counts and times every request when it has ended, and what became of each token request. @param now milliseconds */
export function createRequestMetrics(dependencies: {
  metrics: Pick<Metrics, 'countRequest' | 'countTokenRequest'>;
  now?: () => number;
}): Middleware {
  const { metrics, now = () => performance.now() } = dependencies;

  return async function requestMetrics(context, next) {
    const startedAt = now();
    const { path, method } = context;
    context.res.once('close', () => {
      const { endpoint: named, grantType, error } = outcomeOf(context.req);
      const endpoint = endpointOfPath(path) ?? named;
      const status = context.res.writableFinished ? context.res.statusCode : undefined;
      metrics.countRequest({ endpoint, method, status, durationSeconds: (now() - startedAt) / MS_PER_SECOND });
      // A preflight (OPTIONS) asks for no token.
      if (endpoint === 'token' && method === 'POST') metrics.countTokenRequest({ grantType, status, error });
    });
    await next();
  };
}
