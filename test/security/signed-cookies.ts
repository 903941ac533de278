import { createHmac } from 'node:crypto';

/** A cookie and the signature beside it, as Koa sets them: who has the keys can make both. */
export function signedCookies(name: string, value: string, keys: readonly string[]): [string, string][] {
  const signature = createHmac('sha1', keys[0] ?? '')
    .update(`${name}=${value}`)
    .digest('base64url');
  return [
    [name, value],
    [`${name}.sig`, signature],
  ];
}
