/** The scopes of OpenID Connect Core 1.0 (sections 3.1.2.1, 5.4 and 11). They belong to no API. */
export const OPENID_SCOPES: readonly string[] = ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'];

/** RFC 6749, section 3.3: `scope-token`. */
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const MAX_SCOPE_LENGTH = 128;

export function isScopeToken(value: string): boolean {
  return value.length <= MAX_SCOPE_LENGTH && SCOPE_TOKEN.test(value);
}

export function isOpenIdScope(scope: string): boolean {
  return OPENID_SCOPES.includes(scope);
}

/** The scopes in a `scope` member, each once, in the order in which they stand. */
export function scopesIn(value: string | undefined): string[] {
  return [...new Set((value ?? '').split(' ').filter((scope) => scope !== ''))];
}
