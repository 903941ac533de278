import type { Middleware } from 'koa';
import { forwardRequest } from '../http/index.ts';

/**
 * The playground keeps in memory what a browser does there: with several processes, that is the memory of one.
 *
 * @param elsewhere the port of the process that it is in; undefined where that is this one
 */
export function playgroundOfOneProcess(playground: Middleware, elsewhere: () => number | undefined): Middleware {
  return (context, next) => {
    const port = elsewhere();
    return port === undefined || !context.path.startsWith('/playground/')
      ? playground(context, next)
      : forwardRequest(context, port);
  };
}
