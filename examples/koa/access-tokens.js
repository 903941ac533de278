import { createHash } from 'node:crypto';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import * as openid from 'openid-client';

/** Asymmetric ones alone: with HS256 in this list, a public key would be a shared secret. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'];
/** Seconds that the clocks of issuer and API may differ by. */
const CLOCK_TOLERANCE = 5;
/** Within which the issuer answers, or this API says that it can't. */
const TIMEOUT_SECONDS = 5;
const API_KEY_PREFIX = 'tsk_';
const JWT_FORM = /^[\w-]+\.[\w-]+\.[\w-]*$/;
/** What jose says where the issuer's keys can't be had: that is no verdict on a token. */
const KEYS_AWAY = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC']);

/**
 * Reads access tokens for this API.
 *
 * @returns a function that is given a token, and the address it was sent from: it answers with the token's claims, with
 *   `undefined` where it is not good for this API, and throws where the issuer can't be asked
 */
export function createTokenReader(settings) {
  const { issuer, audience, introspectsJwts } = settings;
  const askIssuer = createIntrospection(settings);
  let connecting;

  /** Asks discovery once; where the issuer is away, again with the next request. So it doesn't matter which starts first. */
  function connect() {
    connecting ??= discover(settings).catch((error) => {
      connecting = undefined;
      throw error;
    });
    return connecting;
  }

  /** RFC 9068, section 4. */
  async function verifyJwt(token, keys) {
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience,
        typ: 'at+jwt',
        algorithms: ALGORITHMS,
        requiredClaims: ['exp', 'iat', 'sub', 'client_id', 'jti'],
        clockTolerance: CLOCK_TOLERANCE,
      });
      return payload;
    } catch (error) {
      if (error instanceof errors.JOSEError && !KEYS_AWAY.has(error.code)) return undefined;
      throw error;
    }
  }

  return async (token, address) => {
    const { client, keys } = await connect();
    const isJwt = JWT_FORM.test(token);
    const verified = isJwt ? await verifyJwt(token, keys) : undefined;
    if (isJwt && verified === undefined) return undefined;
    const claims = isJwt && !introspectsJwts ? verified : await askIssuer(client, token, address);
    // Bound to a key, of which this API checks no proof (RFC 9449, section 7.2; RFC 8705, section 3): useless to a thief, and here.
    return claims?.cnf === undefined ? claims : undefined;
  };
}

async function discover({ issuer, introspectionClientId, introspectionClientSecret }) {
  const client = await openid.discovery(
    new URL(issuer),
    introspectionClientId,
    undefined,
    openid.ClientSecretBasic(introspectionClientSecret),
    // http is for an issuer on this machine alone: the settings have no other.
    { execute: issuer.startsWith('http:') ? [openid.allowInsecureRequests] : [], timeout: TIMEOUT_SECONDS },
  );
  // An unknown key is looked for at once, and then no sooner than this: nobody can make this API ask for each that they make up.
  const keys = createRemoteJWKSet(new URL(client.serverMetadata().jwks_uri), { cooldownDuration: 10_000 });
  return { client, keys };
}

/**
 * Opaque tokens and API keys (RFC 7662). Answers are held for a moment, negative ones too; requests with one token at the
 * same time share one question.
 */
function createIntrospection({ audience, cacheSeconds, cacheSize }) {
  const answers = new LRUCache({
    max: cacheSize,
    ttl: cacheSeconds * 1_000,
    async fetchMethod(_digest, _before, { context: { client, token, parameters }, options }) {
      const answer = await openid.tokenIntrospection(client, token, parameters);
      if (answer.exp !== undefined) options.ttl = Math.min(options.ttl, Math.max(1, answer.exp * 1_000 - Date.now()));
      return answer;
    },
  });

  return async (client, token, address) => {
    // A key may be good from some addresses alone, which the issuer compares; only we know it.
    const parameters = token.startsWith(API_KEY_PREFIX) && address ? { ip_address: address } : {};
    // The cache holds no token that could be used: whoever reads the memory of this server finds digests.
    const digest = createHash('sha256')
      .update(JSON.stringify([token, parameters]))
      .digest('base64url');
    const answer = await answers.fetch(digest, { context: { client, token, parameters } });
    return answer.active && [answer.aud].flat().includes(audience) ? answer : undefined;
  };
}
