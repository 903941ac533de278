import type { Context } from 'koa';
import { outcomeOf } from '../telemetry/index.ts';
import type { Pages } from './pages.ts';
import type { ErrorPage } from './views.ts';

/** Answers with the page of an error: its status, and the request id by which it is found in the log. */
export function showError(
  context: Context,
  pages: Pages,
  error: Omit<ErrorPage, 'requestId'>,
  uiLocales?: string,
): void {
  const { requestId = '' } = outcomeOf(context.req);
  pages.show(context, 'error', { ...error, requestId }, uiLocales);
  context.status = error.status;
}
