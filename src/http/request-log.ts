import { grantTypeLabel, type Logger } from '../telemetry/index.ts';
import { loggablePath } from './endpoint-of-path.ts';
import type { RequestRecord } from './observe-requests.ts';

const CLIENT_ID_LENGTH = 200;

/**
 * Writes one line for a request that has ended: what was asked, by which client, what came of it, in how many
 * milliseconds. No header, query, body or cookie is ever in it. A request that ended in a fault is an error with its
 * cause; health checks are only of interest when debugging.
 *
 * pino by itself, not pino-http: that one serializes the request with its headers for every line, changed or not, and
 * makes up an error for each 5xx.
 */
export function createRequestLog({ logger }: { logger: Logger }): (record: RequestRecord) => void {
  // Its members are known, and looking for secrets among them took an eighth of the CPU of a request (docs/performance.md).
  const plainLogger = logger.child({}, { redact: { paths: [] } });
  return (record) => {
    const { requestId, method, path, endpoint, clientId, grantType, status, error, reason, fault } = record;
    const { durationMs, address } = record;
    const isFault = status !== undefined && status >= 500 && endpoint !== 'health';
    const level = isFault ? 'error' : endpoint === 'health' ? 'debug' : 'info';
    const isPlain = !isFault || fault === undefined;
    (isPlain ? plainLogger : logger)[level](
      {
        requestId,
        method,
        path: loggablePath(path),
        endpoint,
        clientId: clientId?.slice(0, CLIENT_ID_LENGTH),
        // From the body, where anything may stand: only what is a grant type is logged.
        grantType: grantType === undefined ? undefined : grantTypeLabel(grantType),
        ...(status === undefined ? { isAborted: true } : { status }),
        error,
        reason,
        durationMs: Math.round(durationMs * 10) / 10,
        address,
        ...(isPlain ? {} : { err: fault }),
      },
      'request',
    );
  };
}
