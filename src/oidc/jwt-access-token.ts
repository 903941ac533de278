import { createLocalJWKSet, type JWK, type JWTPayload, jwtVerify } from 'jose';
import { CLOCK_TOLERANCE_SECONDS } from '../config/index.ts';

/** The grant that a person's JWT access token hangs on: when it ends, so does the token, wherever it is introspected. */
export const GRANT_ID_CLAIM = 'grant_id';

/**
 * The revision of the revocations that the node knew when the request for the token began. A mark of a higher one, on the
 * token's client or account, ends it. Left out while nothing was ever revoked, which counts as 0.
 */
export const REVISION_CLAIM = 'rev';

/** The claims of one of our own access tokens in JWT format (RFC 9068, section 2.2). */
export type AccessTokenClaims = JWTPayload & {
  client_id: string;
  exp: number;
  iat: number;
  jti: string;
  sub: string;
  scope?: string;
  cnf?: { jkt?: string; 'x5t#S256'?: string };
  [GRANT_ID_CLAIM]?: string;
  [REVISION_CLAIM]?: number;
};

export type JwtVerifier = (token: string) => Promise<AccessTokenClaims | undefined>;

/**
 * Makes a verifier for our own JWT access tokens: signature by a published key, `typ`, issuer, times (RFC 9068, section
 * 4). It answers `undefined` for anything else.
 */
export function createJwtVerifier(issuer: string, publicKeys: readonly JWK[]): JwtVerifier {
  const keys = createLocalJWKSet({ keys: [...publicKeys] });
  const algorithms = [...new Set(publicKeys.flatMap(({ alg }) => alg ?? []))];
  return async (token) => {
    try {
      const { payload } = await jwtVerify<AccessTokenClaims>(token, keys, {
        issuer,
        typ: 'at+jwt',
        algorithms,
        requiredClaims: ['exp', 'iat', 'jti', 'client_id', 'aud', 'sub'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      });
      return payload;
    } catch {
      return undefined;
    }
  };
}
