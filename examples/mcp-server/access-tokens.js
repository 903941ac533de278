import { InvalidTokenError, ServerError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';

/** Asymmetric ones alone: with HS256 in this list, a public key would be a shared secret. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'];
/** Seconds that the clocks of issuer and server may differ by. */
const CLOCK_TOLERANCE = 5;
/** What jose says where the issuer's keys can't be had: that is no verdict on a token. */
const KEYS_AWAY = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC']);

/**
 * What the SDK asks about each token: whether it is one of Tessera for this very server (RFC 9068, section 4). One that an
 * agent got for another server opens nothing here.
 *
 * @returns the SDK's `OAuthTokenVerifier`
 */
export function createTokenVerifier({ issuer, resource, jwksUri }) {
  const keys = createRemoteJWKSet(new URL(jwksUri), { cooldownDuration: 10_000 });
  return {
    async verifyAccessToken(token) {
      const { client_id, scope, exp, sub, cnf } = await verify(token);
      // Bound to a key, of which this server checks no proof (RFC 9449, section 7.2): useless to a thief, and here.
      if (cnf !== undefined) throw new InvalidTokenError('The token is bound to a key');
      const scopes = typeof scope === 'string' ? scope.split(' ') : [];
      return { token, clientId: client_id, scopes, expiresAt: exp, resource: new URL(resource), extra: { sub } };
    },
  };

  async function verify(token) {
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience: resource,
        typ: 'at+jwt',
        algorithms: ALGORITHMS,
        requiredClaims: ['exp', 'iat', 'sub', 'client_id', 'jti'],
        clockTolerance: CLOCK_TOLERANCE,
      });
      return payload;
    } catch (error) {
      const isVerdict = error instanceof errors.JOSEError && !KEYS_AWAY.has(error.code);
      // Nothing of the token, and nothing that a header could not hold.
      throw isVerdict ? new InvalidTokenError('The token is not good here') : new ServerError('The keys are away');
    }
  }
}
