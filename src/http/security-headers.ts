import type { Middleware } from 'koa';
import helmet from 'koa-helmet';

/**
 * Headers of every answer (OWASP ASVS 3.4). No `form-action`: Chromium applies it to the redirect back to the app. The
 * provider adds the hashes of its own scripts to this policy. Answers are not stored unless a route says otherwise.
 */
export function securityHeaders({ isSecure }: { isSecure: boolean }): Middleware {
  const headers = helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        // The logo of a client comes from its own host (pages.ts).
        imgSrc: ["'self'", 'data:'],
        connectSrc: ["'self'"],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    // Discovery, keys and assets are read from other origins; what is private is guarded by its own means.
    crossOriginResourcePolicy: false,
    crossOriginOpenerPolicy: false,
    referrerPolicy: { policy: 'no-referrer' },
    strictTransportSecurity: isSecure ? { maxAge: 63_072_000, includeSubDomains: false } : false,
    xFrameOptions: { action: 'deny' },
  });
  return (context, next) => {
    context.set('Cache-Control', 'no-store');
    return headers(context, next);
  };
}
