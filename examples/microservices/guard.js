import { createRemoteJWKSet, errors, jwtVerify } from 'jose';

/** Asymmetric ones alone: with HS256 in this list, a public key would be a shared secret. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'];
const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i;
/** What jose says where the issuer's keys can't be had: that is no verdict on a token. */
const KEYS_AWAY = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC']);

/**
 * Guards the routes of a service (RFC 9068, section 4; RFC 6750, section 3).
 *
 * @param issuer as `findIssuer` makes it
 * @param metadataUrl where the service is described (RFC 9728): each challenge names it, where there is one
 * @param audience of this service: a token for any other is refused, whoever it was stolen from
 * @returns a function that is given the scope that a route wants, and the service that has to act for the caller there, if
 *   one has to; it returns a middleware for Express, which leaves `{ token, claims }` in `request.caller`
 */
export function createGuard(issuer, audience, metadataUrl) {
  const { issuer: name, jwks_uri } = issuer.serverMetadata();
  // An unknown key is looked for at once, and then no sooner than this: nobody can make this service ask for each that they make up.
  const keys = createRemoteJWKSet(new URL(jwks_uri), { cooldownDuration: 10_000 });

  const found = metadataUrl === undefined ? {} : { resource_metadata: metadataUrl };

  return ({ scope, actor }) =>
    async (request, response, next) => {
      const headers = request.headersDistinct.authorization ?? [];
      if (headers.length > 1) return refuse(response, 400, 'invalid_request', found);
      const [header = ''] = headers;
      if (!/^Bearer\b/i.test(header)) return refuse(response, 401, undefined, found);
      const token = BEARER.exec(header)?.[1] ?? '';
      let claims;
      try {
        ({ payload: claims } = await jwtVerify(token, keys, {
          issuer: name,
          audience,
          typ: 'at+jwt',
          algorithms: ALGORITHMS,
          requiredClaims: ['exp', 'iat', 'sub', 'client_id', 'jti'],
          clockTolerance: 5,
        }));
      } catch (error) {
        if (!(error instanceof errors.JOSEError) || KEYS_AWAY.has(error.code)) throw error;
        return refuse(response, 401, 'invalid_token', found);
      }
      // Bound to a key, of which this service checks no proof (RFC 9449, section 7.2; RFC 8705, section 3).
      if (claims.cnf !== undefined) return refuse(response, 401, 'invalid_token', found);
      const hasScope = (claims.scope ?? '').split(' ').includes(scope);
      if (!hasScope) return refuse(response, 403, 'insufficient_scope', { scope, ...found });
      // The outermost is who acts now; who is further in acted before, which decides nothing (RFC 8693, section 4.1).
      // No challenge: RFC 6750 has no error for that, and no other scope would help.
      if (actor !== undefined && claims.act?.sub !== actor)
        return response.status(403).json({ error: 'access_denied' });
      request.caller = { token, claims };
      next();
    };
}

/** Answers with the error as its body and as a challenge; without one where no token came. */
export function refuse(response, status, error, parameters = {}) {
  const given = Object.entries({ ...(error && { error }), ...parameters });
  const challenge = `Bearer ${given.map(([name, value]) => `${name}="${value}"`).join(', ')}`.trim();
  response.set('WWW-Authenticate', challenge).status(status).json({ error });
}
