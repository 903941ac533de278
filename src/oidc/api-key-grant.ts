import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { type ApiKey, type ApiKeys, type ApiKeyVerdict, isMeantAsApiKey, toApiKeyClientId } from '../api-keys/index.ts';
import { outcomeOf } from '../telemetry/index.ts';
import { setRateLimitFields } from './api-key-limit-fields.ts';
import { boundedBy } from './bounded-lifetime.ts';
import { type Callers, ownerIdOf } from './callers.ts';
import { epochSeconds } from './epoch-seconds.ts';
import { failClosed } from './faults.ts';
import type { GrantHandler } from './grant-handlers.ts';

/** What a request has still to ask of an API key, and whom the token of one that the key makes itself is about. */
type NotedUse = Readonly<{
  ask(api: string | undefined): void;
  sub?: string | undefined;
  /** Epoch seconds; the token must not outlive it. */
  expiresAt?: number | undefined;
}>;

const notedUses = new WeakMap<object, NotedUse>();

/**
 * Client credentials by an API key: one use of it is asked for, and counted, once everything else about the request was
 * checked and before a token is made. What its limits allow no more is refused with 429 and `slow_down`, the one code for
 * "not now" that is registered for the token endpoint (RFC 8628, section 3.5); use from elsewhere with `unauthorized_client`
 * (RFC 6749, section 5.2).
 */
export function limitApiKeys({ clients, apiKeys }: { clients: Callers; apiKeys: Pick<ApiKeys, 'allow'> }) {
  return (handler: GrantHandler): GrantHandler =>
    async (context) => {
      const { clientId } = context.oidc.client;
      if (!isMeantAsApiKey(clientId)) return handler(context);
      const caller = await failClosed(() => clients.find(clientId));
      const apiKey = caller && clients.apiKeyOf(caller);
      // It was ended since it has authenticated.
      if (apiKey === undefined) throw new errors.InvalidClientAuth('client not found');
      const ask = (api: string | undefined) =>
        askForUse(context, apiKey, apiKeys.allow(apiKey, { api, address: context.ip }));
      const expiresAt = apiKey.expiresAt && epochSeconds(apiKey.expiresAt);
      noteUse(context, ask, { sub: ownerIdOf(apiKey.owner), expiresAt });
      return handler(context);
    };
}

/**
 * Notes a use of an API key that is not asked for before everything else about the request was checked: what is refused
 * for another reason is none.
 *
 * @param ask counts the use, or throws what refuses the token; gets the API that the token is for
 * @param own whom the token is about, and when the key expires, where the key makes the request itself
 */
export function noteUse(context: KoaContextWithOIDC, ask: NotedUse['ask'], own?: Omit<NotedUse, 'ask'>): void {
  notedUses.set(context.req, { ask, ...own });
}

/** The lifetime of a token, in seconds: the key that asks for it must not end before it. */
export function boundedByApiKey(context: KoaContextWithOIDC, seconds: number): number {
  return boundedBy(notedUses.get(context.req)?.expiresAt, seconds);
}

/** Asks for the use that was noted, if one was. @throws what refuses the token, where the key may not be used for it now */
export function askForNotedUse(context: KoaContextWithOIDC, { aud }: { aud?: unknown }): void {
  notedUses.get(context.req)?.ask(typeof aud === 'string' ? aud : undefined);
}

/** Whom a token is about that an API key asks for: the key's owner, an account or a client. */
export function apiKeySubject(context: KoaContextWithOIDC): { sub?: string } {
  const sub = notedUses.get(context.req)?.sub;
  return sub === undefined ? {} : { sub };
}

/** Says how the limits of a key stand. @throws where they allow no use of it now */
export function askForUse(context: KoaContextWithOIDC, apiKey: ApiKey, verdict: ApiKeyVerdict): void {
  setRateLimitFields(context, apiKey, verdict);
  noteRefusedUse(context, apiKey, verdict);
  if (verdict.ok) return;
  if ('retryAfterSeconds' in verdict) {
    context.set('Retry-After', String(verdict.retryAfterSeconds));
    throw new TooManyRequests(verdict.reason === 'quota_exceeded' ? 'quota' : 'rate');
  }
  throw new errors.UnauthorizedClient('this API key may not be used from this address');
}

/** Notes for the log which key was refused, and why; nothing where it was not. The client may be somebody else. */
export function noteRefusedUse({ req }: KoaContextWithOIDC, { id }: ApiKey, verdict: ApiKeyVerdict): void {
  if (!verdict.ok) outcomeOf(req).reason = `${toApiKeyClientId(id)}: ${verdict.reason}`;
}

class TooManyRequests extends errors.OIDCProviderError {
  constructor(limit: 'quota' | 'rate') {
    super(429, 'slow_down');
    this.error_description = `the ${limit} of this API key is used up for now`;
  }
}
