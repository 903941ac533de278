import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Context } from 'koa';
import { AppError } from '../errors.ts';

const FIELD = '_csrf';

/** Guards forms: a token in the form must belong to a cookie of the same browser (OWASP: signed double-submit cookie). */
export type Csrf = Readonly<{
  /** The token for a form on the page that is being answered; sets the cookie where there is none. */
  token(context: Context): string;
  /** @throws {AppError} `csrf` where the form was not made for this browser */
  verify(context: Context, form: Readonly<Record<string, string | undefined>>): void;
}>;

/** @param key a secret of the server, the same on every node */
export function createCsrf({ key, isSecure }: { key: Buffer; isSecure: boolean }): Csrf {
  const cookie = isSecure ? '__Host-tessera_csrf' : 'tessera_csrf';
  const tokenFor = (id: string) => createHmac('sha256', key).update(`form ${id}`).digest();

  return {
    token(context) {
      let id = context.cookies.get(cookie);
      if (id === undefined) {
        id = randomBytes(24).toString('base64url');
        context.cookies.set(cookie, id, { httpOnly: true, sameSite: 'lax', secure: isSecure, path: '/' });
      }
      return tokenFor(id).toString('base64url');
    },
    verify(context, form) {
      const id = context.cookies.get(cookie);
      const given = Buffer.from(form[FIELD] ?? '', 'base64url');
      const expected = tokenFor(id ?? '');
      if (id !== undefined && given.length === expected.length && timingSafeEqual(given, expected)) return;
      throw new AppError({
        code: 'csrf',
        message: 'This form is out of date. Go back, reload the page and try again.',
      });
    },
  };
}
