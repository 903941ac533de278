import type { Middleware } from 'koa';
import { isMeantAsApiKey, parseApiKey, toApiKeyClientId } from '../api-keys/index.ts';
import { AppError } from '../errors.ts';

const BEARER = /^bearer ([\x21-\x7e]+)$/i;
/** What nobody is called and no secret is: refused like any other client that is not there, without a look. */
const NOBODY = 'tsk_:malformed';

/**
 * Lets an API key be sent whole, as `Authorization: Bearer tsk_…`, where it authenticates a client: in a POST to `path`. It
 * becomes HTTP Basic, which the provider checks against any other client authentication beside it. Every other bearer,
 * and this one at any other path, is the provider's to refuse.
 */
export function apiKeyBearer(path: string): Middleware {
  return async (context, next) => {
    if (context.method !== 'POST' || context.path !== path) return next();
    const sent = context.req.headersDistinct.authorization ?? [];
    if (!sent.some((value) => meantKey(value) !== undefined)) return next();
    // Node hands on the first alone, and whoever stands between may look at the other.
    if (sent.length > 1) throw new AppError({ code: 'invalid_request', message: 'Authorization may be sent once.' });
    const key = parseApiKey(meantKey(sent[0]) ?? '');
    const credentials = key === undefined ? NOBODY : `${toApiKeyClientId(key.id)}:${key.secret}`;
    context.req.headers.authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
    await next();
    // A refusal names the scheme that was used (RFC 6749, section 5.2).
    const challenge = context.res.getHeader('WWW-Authenticate');
    if (typeof challenge === 'string') context.set('WWW-Authenticate', challenge.replace(/^Basic /, 'Bearer '));
  };
}

function meantKey(authorization: string | undefined): string | undefined {
  const value = BEARER.exec(authorization ?? '')?.[1];
  return value !== undefined && isMeantAsApiKey(value) ? value : undefined;
}
