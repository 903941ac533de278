import type { Context } from 'koa';
import { outcomeOf } from '../telemetry/index.ts';
import type { ClientView, Pages } from './pages.ts';
import { definePage } from './views.ts';

export interface ErrorPage {
  /** Chooses the words; an unknown one shows `description` in place of our own. */
  code: string;
  /** The protocol's code for `[data-error]`, where `code` is a finer one of ours. */
  oauthCode?: string | undefined;
  status: number;
  description: string;
  requestId: string;
  /** Its page is the way on, where it has one. */
  client?: ClientView | undefined;
}

export const errorPage = definePage<ErrorPage>('error');

/** Answers with the page of an error: its status, and the request id by which it is found in the log. */
export function showError(
  context: Context,
  pages: Pages,
  error: Omit<ErrorPage, 'requestId'>,
  uiLocales?: string,
): void {
  const { requestId = '' } = outcomeOf(context.req);
  pages.show(context, errorPage({ ...error, requestId }), uiLocales);
  context.status = error.status;
}
