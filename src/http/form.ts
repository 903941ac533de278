import { bodyParser } from '@koa/bodyparser';
import type { Context, Middleware } from 'koa';
import { AppError } from '../errors.ts';

/** Our longest form is a sign-in; more is an attack or a mistake. The provider reads its own bodies, up to 56 KiB. */
const FORM_LIMIT = '16kb';

/** Reads an HTML form into `context.request.body`. @throws {AppError} where it is none, too large or malformed */
export function readForm(): Middleware {
  const parse = bodyParser({
    enableTypes: ['form'],
    formLimit: FORM_LIMIT,
    encoding: 'utf-8',
    onError(error) {
      const isTooLarge = 'status' in error && error.status === 413;
      throw new AppError({
        code: isTooLarge ? 'payload_too_large' : 'invalid_request',
        message: isTooLarge ? 'This form is too large.' : 'This form can’t be read.',
        cause: error,
      });
    },
  });
  return async (context, next) => {
    if (!context.is('application/x-www-form-urlencoded')) {
      throw new AppError({ code: 'unsupported_media_type', message: 'A form is wanted here.' });
    }
    await parse(context, next);
  };
}

/** The fields of the form that was read, each once; a repeated or nested one is refused. */
export function formOf(context: Context): Record<string, string | undefined> {
  const body: unknown = context.request.body;
  const fields = Object.entries(body !== null && typeof body === 'object' ? body : {});
  for (const [name, value] of fields) {
    if (typeof value === 'string') continue;
    throw new AppError({ code: 'invalid_request', message: `The field ${name.slice(0, 40)} must be given once.` });
  }
  return Object.fromEntries(fields) as Record<string, string>;
}
