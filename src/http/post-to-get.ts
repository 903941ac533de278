import type { Middleware } from 'koa';
import { AppError } from '../errors.ts';

/** Encoded, a form may grow ninefold. Clients and proxies take 16 KiB of headers in all; what is longer would be cut off there. */
const LONGEST_TARGET = 12 * 1024;

/**
 * Answers a POST to one of `paths` by 303 to the same request as GET. Session cookies are `Lax` and not sent with a POST
 * from another site, so that the provider would not know who is signed in (OpenID Connect Core 1.0, section 3.1.2.1 wants
 * both methods). A body that is no form, or too long for a URL, is refused: the provider has nothing at these paths but for GET.
 */
export function postToGet(paths: readonly string[], readForm: Middleware): Middleware {
  return async (context, next) => {
    if (context.method !== 'POST' || !paths.includes(context.path)) return next();
    await readForm(context, async () => {
      const parameters = new URLSearchParams(context.querystring);
      for (const [name, value] of Object.entries(context.request.body as Record<string, unknown>)) {
        // A repeated parameter stays repeated: it is the provider's to refuse.
        for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, String(one));
      }
      const target = `${context.path}?${parameters}`;
      if (target.length > LONGEST_TARGET) {
        throw new AppError({ code: 'payload_too_large', message: 'This request is too large.' });
      }
      context.status = 303;
      context.redirect(target);
    });
  };
}
