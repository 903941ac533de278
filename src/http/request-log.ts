import { randomUUID } from 'node:crypto';
import type { Context, Middleware } from 'koa';
import { grantTypeLabel, type Logger, outcomeOf } from '../telemetry/index.ts';
import { endpointOfPath, loggablePath } from './endpoint-of-path.ts';

const REQUEST_ID_HEADER = 'X-Request-Id';
/** Nothing that could break a log line, and too short to smuggle in a token. */
const HARMLESS_REQUEST_ID = /^[\w.-]{1,64}$/;
const CLIENT_ID_LENGTH = 200;

/**
 * Gives each request an id (`ctx.state.requestId`, and `X-Request-Id` in the answer) and writes one line when it ends:
 * what was asked, by which client, what came of it, in how many milliseconds. No header, query, body or cookie is ever
 * in it. A request that ended in a fault is an error with its cause; health checks are only of interest when debugging.
 *
 * pino by itself, not pino-http: that one serializes the request with its headers for every line, changed or not, and
 * makes up an error for each 5xx.
 *
 * @param isTrustedProxy whether the peer at this address may name the request's id
 * @param now milliseconds that only go forward
 */
export function createRequestLog(dependencies: {
  logger: Logger;
  isTrustedProxy?: (address: string) => boolean;
  now?: () => number;
}): Middleware {
  const { logger, isTrustedProxy = () => false, now = () => performance.now() } = dependencies;

  return async function requestLog(context, next) {
    const startedAt = now();
    const { path, method } = context;
    const peerAddress = context.req.socket.remoteAddress ?? '';
    const requestId = requestIdOf(context, isTrustedProxy(peerAddress));
    let address = peerAddress;
    context.state.requestId = requestId;
    context.set(REQUEST_ID_HEADER, requestId);

    // 'close' comes once, after the whole answer or when the peer has left.
    context.res.once('close', () => {
      const { endpoint: named, clientId, grantType, error, fault } = outcomeOf(context.req);
      // The path first: it says the same of a preflight, a refusal and an answer, whoever gave it.
      const endpoint = endpointOfPath(path) ?? named;
      const isAnswered = context.res.writableFinished;
      const isFault = isAnswered && context.res.statusCode >= 500 && endpoint !== 'health';
      const level = isFault ? 'error' : endpoint === 'health' ? 'debug' : 'info';
      logger[level](
        {
          requestId,
          method,
          path: loggablePath(path),
          endpoint,
          clientId: clientId?.slice(0, CLIENT_ID_LENGTH),
          // From the body, where anything may stand: only what is a grant type is logged.
          grantType: grantType === undefined ? undefined : grantTypeLabel(grantType),
          ...(isAnswered ? { status: context.res.statusCode } : { isAborted: true }),
          error,
          durationMs: Math.round((now() - startedAt) * 10) / 10,
          address,
          ...(isFault && fault !== undefined ? { err: fault } : {}),
        },
        'request',
      );
    });

    try {
      await next();
    } finally {
      // Read late: Koa remembers the first answer, and what a stranger claims to be forwarded for is dropped on the way.
      address = context.ip || peerAddress;
    }
  };
}

function requestIdOf(context: Context, isFromTrustedProxy: boolean): string {
  const given = context.get(REQUEST_ID_HEADER);
  return isFromTrustedProxy && HARMLESS_REQUEST_ID.test(given) ? given : randomUUID();
}
