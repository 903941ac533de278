import type { Middleware } from 'koa';

/**
 * Answers a POST to one of `paths` by 303 to the same request as GET. Session cookies are `Lax` and not sent with a POST
 * from another site, so that the provider would not know who is signed in (OpenID Connect Core 1.0, section 3.1.2.1 wants
 * both methods). A body that is no form is refused: the provider has nothing at these paths but for GET.
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
      context.status = 303;
      context.redirect(`${context.path}?${parameters}`);
    });
  };
}
