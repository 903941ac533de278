import type { Context, Middleware } from 'koa';
import { isDatabaseUnavailable } from '../database/index.ts';
import { AppError, RETRY_AFTER_SECONDS } from '../errors.ts';
import { outcomeOf } from '../telemetry/index.ts';
import type { Pages } from './pages.ts';
import { showError } from './show-error.ts';

/** Turns every error of ours into an answer: a page for people, JSON for programs. The provider answers its own errors. */
export function respondToErrors({ pages }: { pages: Pages }): Middleware {
  return async (context, next) => {
    try {
      await next();
      if (context.status === 404 && context.body === undefined) throw notFound(context);
    } catch (error) {
      answer(context, pages, toAppError(error));
    }
  };
}

function notFound(context: Context): AppError {
  return new AppError({ code: 'not_found', message: `There is nothing at ${context.path.slice(0, 100)}.` });
}

/** What is unknown becomes `server_error`, and is logged whole; the public sees a request id. */
function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (isDatabaseUnavailable(error)) {
    return new AppError({
      code: 'temporarily_unavailable',
      message: 'The server cannot answer at the moment. Try again shortly.',
      cause: error,
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    });
  }
  if (isRefusal(error)) {
    return new AppError({ code: 'invalid_request', message: 'This request can’t be understood.', cause: error });
  }
  return new AppError({ code: 'server_error', message: 'Something went wrong on our side.', cause: error });
}

/** What Koa's own parts throw for a request that is at fault, such as a path that leads out of the assets. */
function isRefusal(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('expose' in error) || !('status' in error)) return false;
  return error.expose === true && typeof error.status === 'number' && error.status >= 400 && error.status < 500;
}

function answer(context: Context, pages: Pages, error: AppError): void {
  const outcome = outcomeOf(context.req);
  const code = error.code === 'database_unavailable' ? 'temporarily_unavailable' : error.code;
  outcome.error = code;
  if (error.status >= 500) outcome.fault = error.cause ?? error;
  context.status = error.status;
  if (error.retryAfterSeconds !== undefined) context.set('Retry-After', String(error.retryAfterSeconds));
  if (context.accepts('json', 'html') === 'html') {
    showError(context, pages, { code, status: error.status, description: error.message });
  } else {
    context.body = { error: code, error_description: error.message, request_id: outcome.requestId ?? '' };
  }
}
