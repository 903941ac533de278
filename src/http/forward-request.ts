import { type IncomingMessage, request } from 'node:http';
import type { Context } from 'koa';
import { AppError } from '../errors.ts';

/** Headers of one connection (RFC 9110, section 7.6.1), and the id by which this process has the request in its log. */
const NOT_FORWARDED = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'x-request-id']);

/**
 * Has another process of this machine answer, and gives its answer as it is.
 *
 * @param port on which that process listens on loopback
 * @throws {AppError} `temporarily_unavailable` where it doesn't answer
 */
export async function forwardRequest(context: Context, port: number): Promise<void> {
  const { method, url, headers } = context.req;
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port, method, path: url, headers: forwarded(headers), agent: false },
      resolve,
    );
    sent.once('error', reject);
    context.req.pipe(sent);
  }).catch((cause: unknown) => {
    const message = 'The process that answers here has just ended. Try again.';
    throw new AppError({ code: 'temporarily_unavailable', message, cause });
  });
  context.status = answer.statusCode ?? 502;
  context.body = answer;
  for (const [name, value] of Object.entries(forwarded(answer.headers))) {
    if (value !== undefined) context.set(name, value);
  }
}

function forwarded(headers: IncomingMessage['headers']): IncomingMessage['headers'] {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_FORWARDED.has(name)));
}
