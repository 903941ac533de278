/** Registered claims and header parameters in plain words (IANA, "JSON Web Token Claims" and JOSE registries). */
const meanings: Readonly<Record<string, string>> = {
  iss: 'Issuer: who made the token. Must be the issuer that you trust.',
  sub: 'Subject: whom it is about. A person’s stable id, or the client itself.',
  aud: 'Audience: who may accept it. Refuse a token that names somebody else.',
  exp: 'Expires: not to be accepted from this moment on.',
  nbf: 'Not before: not to be accepted until this moment.',
  iat: 'Issued at.',
  jti: 'The token’s own id, different in every token.',
  auth_time: 'When the person signed in.',
  nonce: 'The value that the client sent along, to tie the answer to its request.',
  acr: 'How strongly the person signed in.',
  amr: 'By which means the person signed in.',
  azp: 'The client that the token was issued to.',
  at_hash: 'Hash of the access token that was issued beside it.',
  c_hash: 'Hash of the authorization code.',
  s_hash: 'Hash of the state.',
  sid: 'The session at this server, by which a logout finds it.',
  scope: 'What the token allows.',
  client_id: 'The client that the token was issued to.',
  roles: 'What the person or the service is, beside what the token allows.',
  act: 'Who acts for the one whom the token is about.',
  grant_id: 'The permission that the token hangs on: when it ends, so does the token, wherever it is introspected.',
  rev: 'The revision of the server’s revocations that it was issued under: ending all of its client or account ends it by this.',
  cnf: 'The key that the sender must prove to have.',
  name: 'Full name.',
  given_name: 'First name.',
  family_name: 'Last name.',
  middle_name: 'Middle name.',
  nickname: 'Casual name.',
  preferred_username: 'The name that the person goes by. It may change: never use it as a key.',
  profile: 'Address of the profile page.',
  picture: 'Address of the picture.',
  website: 'Address of the website.',
  gender: 'Gender.',
  birthdate: 'Date of birth.',
  zoneinfo: 'Time zone.',
  locale: 'Language.',
  phone_number: 'Phone number.',
  phone_number_verified: 'Whether the number was confirmed.',
  address: 'Postal address.',
  email: 'E-mail address.',
  email_verified: 'Whether the address was confirmed.',
  updated_at: 'When the profile last changed.',
  alg: 'The algorithm of the signature.',
  kid: 'Which key signed it: look for this id in the key set.',
  typ: 'What kind of JWT it is; at+jwt is an access token (RFC 9068).',
};

/** Claims that are a moment: seconds since 1970 (RFC 7519, section 2, NumericDate). */
const moments = new Set(['exp', 'nbf', 'iat', 'auth_time', 'updated_at']);

/** What a claim says, in plain words; empty for one that is not registered. */
export function meaningOf(name: string): string {
  return Object.hasOwn(meanings, name) ? (meanings[name] ?? '') : '';
}

/** @returns epoch milliseconds where the claim is a moment */
export function momentOf(name: string, value: unknown): number | undefined {
  return moments.has(name) && typeof value === 'number' ? value * 1_000 : undefined;
}
