import { fileURLToPath } from 'node:url';
import Koa, { type Middleware } from 'koa';
import mount from 'koa-mount';
import serveStatic from 'koa-static';
import type { Config } from './config/index.ts';
import {
  apiKeyBearer,
  ownAddress,
  type Pages,
  postToGet,
  publicDocuments,
  readForm,
  respondToErrors,
  securityHeaders,
} from './http/index.ts';

export const viewsDirectory = fileURLToPath(new URL('../views', import.meta.url));

export type AppParts = {
  config: Config;
  /** As they are now, the one that signs first; the provider's own, whose cookies are set through this app's context. */
  cookieKeys(): readonly string[];
  pages: Pages;
  /** Takes the certificates of clients out of the headers that proxies hand them over in. */
  receiveCertificates: Middleware;
  /** Log line and metrics: sees every request and its end. */
  observe: Middleware;
  health: Middleware;
  interactions: Middleware;
  /** Development only. */
  playground: Middleware | undefined;
  oidc: Middleware;
};

/** The way of every request: where it came from, its log line, headers, errors; then who answers it. */
export function createApp(parts: AppParts): Koa {
  const { config, pages } = parts;
  const app = new Koa({ proxy: true });
  // Koa asks at every request: the keys rotate while the server runs.
  Object.defineProperty(app, 'keys', { get: () => [...parts.cookieKeys()] });
  // Every error is answered and logged on its way; what is left is a connection that broke while it was written to.
  app.silent = true;
  app.use(parts.receiveCertificates);
  app.use(ownAddress({ issuer: config.issuer, trustedProxies: config.trustedProxies }));
  app.use(parts.observe);
  app.use(securityHeaders(config));
  app.use(respondToErrors({ pages }));
  app.use(parts.health);
  app.use(mount('/assets', assets()));
  app.use(parts.interactions);
  if (parts.playground !== undefined) app.use(parts.playground);
  app.use(postToGet(['/authorize', '/logout'], readForm()));
  app.use(publicDocuments(config));
  app.use(apiKeyBearer('/token'));
  app.use(parts.oidc);
  return app;
}

/** Assets are linked with a hash of their content (views.ts), so that they can be kept for ever. */
function assets(): Middleware {
  const serve = serveStatic(`${viewsDirectory}/assets`, {
    maxage: 365 * 24 * 60 * 60 * 1000,
    immutable: true,
    index: false,
  });
  return (context, next) => {
    context.remove('Cache-Control');
    return serve(context, next);
  };
}
