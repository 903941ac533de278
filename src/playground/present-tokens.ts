import { decodeJwt, decodeProtectedHeader } from 'jose';
import { describeTime } from './describe-time.ts';
import { meaningOf, momentOf } from './explain-claims.ts';
import type { PlaygroundClaim, PlaygroundToken } from './playground-pages.ts';
import type { Run, RunKind } from './playground-sessions.ts';

/** The tokens of a run, the most telling first. @param now epoch milliseconds */
export function presentTokens(kind: RunKind, run: Run, now: number): PlaygroundToken[] {
  const { accessToken, idToken, refreshToken } = run.tokens;
  return [
    {
      id: 'access-token',
      title: 'Access token',
      text: describeAccessToken(accessToken, run.resource),
      value: accessToken,
      decoded: decode(accessToken, now),
    },
    ...(idToken === undefined
      ? []
      : [
          {
            id: 'id-token',
            title: 'ID token',
            text: describeIdToken(run.resource),
            value: idToken,
            decoded: decode(idToken, now),
          },
        ]),
    ...(refreshToken === undefined
      ? []
      : [
          {
            id: 'refresh-token',
            title: 'Refresh token',
            text: `Gets new access tokens while the person is away. Opaque, and ${kind === 'code' ? 'useless without the client’s own secret' : 'for the client alone'}.`,
            value: refreshToken,
          },
        ]),
  ];
}

/** @returns undefined for what is no JWT. Nothing is verified: this is to look at, after the client has checked it. */
export function decode(token: string, now: number): PlaygroundToken['decoded'] {
  if (token.split('.').length !== 3) return undefined;
  return { header: claimsOf({ ...decodeProtectedHeader(token) }, now), claims: claimsOf(decodeJwt(token), now) };
}

function claimsOf(source: Record<string, unknown>, now: number): PlaygroundClaim[] {
  return inReadingOrder(Object.entries(source)).map(([name, value]) => {
    const at = momentOf(name, value);
    return {
      name,
      value: typeof value === 'string' ? value : JSON.stringify(value),
      time: at === undefined ? undefined : describeTime(at, now),
      meaning: meaningOf(name),
    };
  });
}

/** What every check begins with comes first, wherever it stands in the token. */
const FIRST = ['iss', 'sub', 'aud', 'client_id', 'scope', 'exp', 'iat', 'nbf', 'auth_time'];

function inReadingOrder(entries: [string, unknown][]): [string, unknown][] {
  const rank = ([name]: [string, unknown]) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return entries.toSorted((one, other) => rank(one) - rank(other));
}

function describeIdToken(resource: string | undefined): string {
  const text = 'Tells the client who has signed in, and how. It is for the client alone: an API must not accept it.';
  return resource === undefined
    ? text
    : `${text} What the scopes tell of the person is in it, because there is no access token for userinfo (OpenID Connect Core 1.0, section 5.4).`;
}

function describeAccessToken(token: string, resource: string | undefined): string {
  if (resource === undefined) {
    return 'Opaque, and for this server’s userinfo alone, because the flow named no API. Only the server knows what it stands for.';
  }
  return token.split('.').length === 3
    ? `A JWT for ${resource}: the API can verify it by the key set, without asking. That it was revoked, only introspection tells: who does not ask accepts it until it expires.`
    : `Opaque, for ${resource}: the API asks introspection what it stands for, and hears at once when it was revoked.`;
}
