import type Router from '@koa/router';
import type { Middleware } from 'koa';

/**
 * The routes of a router, for an app. The one cast of it: the router's context has `params` and `router` beside what the
 * app's has, and adds them itself, which its types can't say.
 */
export function routesOf(router: Router): Middleware {
  return router.routes() as unknown as Middleware;
}
