import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { type ApiKey, type ApiKeys, type ApiKeyVerdict, isMeantAsApiKey } from '../api-keys/index.ts';
import type { Apis } from '../clients/index.ts';
import { setRateLimitFields } from './api-key-limit-fields.ts';
import { type Callers, ownerIdOf } from './callers.ts';
import { failClosed } from './faults.ts';
import type { GrantHandler } from './grant-handlers.ts';
import { defaultResource } from './resources.ts';

type Sources = { callers: Callers; apis: Apis; apiKeys: Pick<ApiKeys, 'allow'> };

/** Whom the token is about that a request asks for with an API key. */
const subjects = new WeakMap<object, string>();

/**
 * Client credentials by an API key: one use of it is asked for, and counted, before a token is made. What its limits allow
 * no more is refused with 429 and `slow_down`, the one code for "not now" that is registered for the token endpoint
 * (RFC 8628, section 3.5); use from elsewhere with `unauthorized_client` (RFC 6749, section 5.2).
 */
export function limitApiKeys(sources: Sources) {
  return (handler: GrantHandler): GrantHandler =>
    async (context) => {
      const { callers, apis, apiKeys } = sources;
      const { client, params } = context.oidc;
      if (!isMeantAsApiKey(client.clientId)) return handler(context);
      const caller = await failClosed(() => callers.find(client.clientId));
      const apiKey = caller && callers.apiKeyOf(caller);
      // It was ended since it has authenticated.
      if (caller === undefined || apiKey === undefined) throw new errors.InvalidClientAuth('client not found');
      subjects.set(context.req, ownerIdOf(apiKey.owner));
      // As the handler would, which then finds it done.
      params.resource ??= await defaultResource(context, caller.id, undefined, {
        apis,
        clients: { find: async () => caller },
      });
      const api = caller.apis.find((known) => known === params.resource);
      // What names no API of the key's is refused further on, and nothing is counted for a name that anybody made up.
      if (params.resource !== undefined && api === undefined) return handler(context);
      askForUse(context, apiKey, apiKeys.allow(apiKey, { api, address: context.ip }));
      return handler(context);
    };
}

/** A token got with an API key is about the key's owner: an account, or a client. */
export function apiKeySubject(context: KoaContextWithOIDC): { sub?: string } {
  const sub = subjects.get(context.req);
  return sub === undefined ? {} : { sub };
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
