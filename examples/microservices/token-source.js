import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import * as openid from 'openid-client';
import { renewBeforeSeconds } from './settings.js';

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
/** Callers whose exchanged tokens are kept at the same time. */
const MOST_TOKENS = 10_000;

/**
 * The tokens that a service calls others with. Each is asked for once and used until it is about to expire; whoever wants
 * the same one in the meantime waits for the same answer.
 *
 * @param client as `findIssuer` makes it
 */
export function createTokenSource(client) {
  const tokens = new LRUCache({
    max: MOST_TOKENS,
    ttl: 1,
    async fetchMethod(_key, _before, { context: askFor, options }) {
      const { access_token, expires_in } = await askFor();
      // Not always as long before the end: services that were started together would ask together for ever.
      const spareSeconds = renewBeforeSeconds * (1 + Math.random() / 2);
      options.ttl = Math.max(1, (expires_in - spareSeconds) * 1_000);
      return access_token;
    },
  });

  return {
    /** For what the service does in its own name (RFC 6749, section 4.4). */
    forItself: (resource, scope) =>
      tokens.fetch(`${resource} ${scope}`, {
        context: () => openid.clientCredentialsGrant(client, { resource, scope }),
      }),

    /**
     * For what it does for whoever called it (RFC 8693): the new token says for whom, and that this service acts. It ends
     * with the caller's.
     *
     * @throws `ResponseBodyError` with the error `invalid_request` where the caller's token is good no longer
     */
    forCaller: (subjectToken, audience, scope) =>
      tokens.fetch(digest(`${subjectToken} ${audience} ${scope}`), {
        context: () =>
          openid.genericGrantRequest(client, TOKEN_EXCHANGE, {
            subject_token: subjectToken,
            subject_token_type: ACCESS_TOKEN,
            audience,
            scope,
          }),
      }),
  };
}

/** Callers' tokens stay out of the memory of this service. */
function digest(text) {
  return createHash('sha256').update(text).digest('base64url');
}
