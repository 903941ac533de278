import type { Context } from 'koa';

/** Answers a form: reloading the page behind it sends nothing again (RFC 9110, section 15.4.4). */
export function seeOther(context: Context, url: string): void {
  context.redirect(url);
  context.status = 303;
}
