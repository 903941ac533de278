import { type AccessToken, type ClientCredentials, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { type ApiKey, type ApiKeys, type ApiKeyVerdict, isMeantAsApiKey } from '../api-keys/index.ts';
import { setRateLimitFields } from './api-key-limit-fields.ts';
import { type Callers, ownerIdOf } from './callers.ts';
import { failClosed } from './faults.ts';
import type { GrantHandler } from './grant-handlers.ts';

type IssuedToken = AccessToken | ClientCredentials;

/** What a request that an API key makes has still to ask for, and whom its token is about. */
type PendingUse = Readonly<{ sub: string; ask(api: string | undefined): void }>;

const pendingUses = new WeakMap<object, PendingUse>();

/**
 * Client credentials by an API key: one use of it is asked for, and counted, once everything else about the request was
 * checked and before a token is made. What its limits allow no more is refused with 429 and `slow_down`, the one code for
 * "not now" that is registered for the token endpoint (RFC 8628, section 3.5); use from elsewhere with `unauthorized_client`
 * (RFC 6749, section 5.2).
 */
export function limitApiKeys({ callers, apiKeys }: { callers: Callers; apiKeys: Pick<ApiKeys, 'allow'> }) {
  return (handler: GrantHandler): GrantHandler =>
    async (context) => {
      const { clientId } = context.oidc.client;
      if (!isMeantAsApiKey(clientId)) return handler(context);
      const caller = await failClosed(() => callers.find(clientId));
      const apiKey = caller && callers.apiKeyOf(caller);
      // It was ended since it has authenticated.
      if (apiKey === undefined) throw new errors.InvalidClientAuth('client not found');
      pendingUses.set(context.req, {
        sub: ownerIdOf(apiKey.owner),
        ask: (api) => askForUse(context, apiKey, apiKeys.allow(apiKey, { api, address: context.ip })),
      });
      return handler(context);
    };
}

/**
 * What a token says that is got with an API key: it is about the key's owner, an account or a client.
 *
 * @throws what refuses the token, where the key may not be used for it now
 */
export function apiKeyClaims(context: KoaContextWithOIDC, { aud }: IssuedToken): { sub?: string } {
  pendingUses.get(context.req)?.ask(typeof aud === 'string' ? aud : undefined);
  return apiKeySubject(context);
}

/** The same, of a token whose use was asked for. */
export function apiKeySubject(context: KoaContextWithOIDC): { sub?: string } {
  const use = pendingUses.get(context.req);
  return use === undefined ? {} : { sub: use.sub };
}

/** Says how the limits of a key stand. @throws where they allow no use of it now */
export function askForUse(context: KoaContextWithOIDC, apiKey: ApiKey, verdict: ApiKeyVerdict): void {
  setRateLimitFields(context, apiKey, verdict);
  if (verdict.ok) return;
  if ('retryAfterSeconds' in verdict) {
    context.set('Retry-After', String(verdict.retryAfterSeconds));
    throw new TooManyRequests(verdict.reason === 'quota_exceeded' ? 'quota' : 'rate');
  }
  throw new errors.UnauthorizedClient('this API key may not be used from this address');
}

class TooManyRequests extends errors.OIDCProviderError {
  constructor(limit: 'quota' | 'rate') {
    super(429, 'slow_down');
    this.error_description = `the ${limit} of this API key is used up for now`;
  }
}
