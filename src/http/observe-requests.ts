import { randomUUID } from 'node:crypto';
import type { Context, Middleware } from 'koa';
import { type Endpoint, outcomeOf } from '../telemetry/index.ts';
import { endpointOfPath } from './endpoint-of-path.ts';

const REQUEST_ID_HEADER = 'X-Request-Id';
/** Nothing that could break a log line, and too short to smuggle in a token. */
const HARMLESS_REQUEST_ID = /^[\w.-]{1,64}$/;

/** A request that has ended, and what became of it. */
export type RequestRecord = Readonly<{
  requestId: string;
  method: string;
  path: string;
  endpoint: Endpoint | undefined;
  clientId: string | undefined;
  grantType: string | undefined;
  /** Absent where the peer left before it had the whole answer. */
  status: number | undefined;
  /** The OAuth error code of the answer. */
  error: string | undefined;
  /** Why it was refused, where that may be nothing that the client has done. */
  reason?: string | undefined;
  /** The fault behind a 5xx answer. */
  fault: unknown;
  durationMs: number;
  /** Of the client. */
  address: string;
}>;

/**
 * Gives each request an id (in its outcome, and as `X-Request-Id` in the answer), and tells each observer when it has
 * ended.
 *
 * @param options.isTrustedProxy whether the peer at this address may name the request's id
 * @param options.now milliseconds that only go forward
 */
export function observeRequests(options: {
  observers: readonly ((record: RequestRecord) => void)[];
  isTrustedProxy?: (address: string) => boolean;
  now?: () => number;
}): Middleware {
  const { observers, isTrustedProxy = () => false, now = () => performance.now() } = options;

  return async function observe(context, next) {
    const startedAt = now();
    const { path, method } = context;
    const peerAddress = context.req.socket.remoteAddress ?? '';
    const requestId = requestIdFor(context, isTrustedProxy(peerAddress));
    let address = peerAddress;
    outcomeOf(context.req).requestId = requestId;
    context.set(REQUEST_ID_HEADER, requestId);

    // 'close' comes once, after the whole answer or when the peer has left.
    context.res.once('close', () => {
      const { clientId, grantType, error, reason, fault } = outcomeOf(context.req);
      const record: RequestRecord = {
        requestId,
        method,
        path,
        endpoint: endpointOfPath(path),
        clientId,
        grantType,
        status: context.res.writableFinished ? context.res.statusCode : undefined,
        error,
        reason,
        fault,
        durationMs: now() - startedAt,
        address,
      };
      for (const tell of observers) tell(record);
    });

    try {
      await next();
    } finally {
      // Read late: Koa remembers the first answer, and what a stranger claims to be forwarded for is dropped on the way.
      address = context.ip || peerAddress;
    }
  };
}

function requestIdFor(context: Context, isFromTrustedProxy: boolean): string {
  const given = context.get(REQUEST_ID_HEADER);
  return isFromTrustedProxy && HARMLESS_REQUEST_ID.test(given) ? given : randomUUID();
}
