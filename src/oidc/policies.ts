import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import type { Accounts } from '../accounts/index.ts';
import type { ApiKey } from '../api-keys/index.ts';
import { type Api, type Apis, authenticates, type RegisteredClient, scopesIn } from '../clients/index.ts';
import type { Callers } from './callers.ts';
import { failClosed } from './faults.ts';
import { ALLOWED_ORIGINS } from './provider-client.ts';
import { scopesCallable } from './resources.ts';

type Client = NonNullable<KoaContextWithOIDC['oidc']['client']>;

/** What a policy needs to know of a token, whatever its format. */
export type IntrospectedToken = {
  clientId?: string | undefined;
  accountId?: string | undefined;
  audience?: string | undefined;
  scope?: string | undefined;
};

/**
 * Whether a token is alive and the caller may know it. Alive: its client is still registered and its account, if it is
 * of a person, is there and enabled, which the library asks nobody; one that was got with an API key is also still worth that.
 */
export async function mayIntrospect(
  callerId: string,
  token: IntrospectedToken,
  registries: { clients: Callers; apis: Apis; accounts: Accounts },
): Promise<boolean> {
  return failClosed(async () => {
    const [caller, owner, account] = await Promise.all([
      registries.clients.find(callerId),
      token.clientId === undefined ? undefined : registries.clients.find(token.clientId, { isHolder: true }),
      token.accountId === undefined ? undefined : registries.accounts.find(token.accountId),
    ]);
    if (caller === undefined || owner === undefined) return false;
    if (token.accountId !== undefined && (account === undefined || account.isDisabled)) return false;
    const apiKey = registries.clients.apiKeyOf(owner);
    if (apiKey !== undefined && !isStillWorth(owner, token, registries.apis)) return false;
    const api = registries.apis.all().find(({ identifier }) => identifier === token.audience);
    return mayKnow(caller, owner, apiKey, api);
  });
}

/**
 * Whether a caller may know of a token or key what it is worth at one API: the client that holds it, the one that owns the key,
 * a client named for the API, or one registered to introspect all (RFC 7662, section 4); one that does not authenticate, what
 * it holds itself alone, whatever the registry says.
 *
 * @param apiKey the holder, where that is one
 * @param api undefined: it is for none
 */
export function mayKnow(
  caller: RegisteredClient,
  holder: Pick<RegisteredClient, 'id'>,
  apiKey: ApiKey | undefined,
  api: Api | undefined,
): boolean {
  if (caller.id === holder.id) return true;
  if (!authenticates(caller.metadata)) return false;
  if (caller.mayIntrospectAny || ownsKey(caller, apiKey)) return true;
  return api?.introspectionClientIds.includes(caller.id) ?? false;
}

/**
 * Whether an API key is still worth what was got with it: what the key and its owner may do shrinks at once, with what was
 * got before. What is for no API alone has to be among what the key may do at all of its APIs.
 *
 * @param holder the key as a client, with what it and its owner may do now
 */
export function isStillWorth(
  holder: RegisteredClient,
  { audience, scope }: Pick<IntrospectedToken, 'audience' | 'scope'>,
  apis: Apis,
): boolean {
  if (audience !== undefined && !holder.apis.includes(audience)) return false;
  const callable = scopesCallable(holder, apis, audience);
  return scopesIn(scope).every((each) => callable.includes(each));
}

/** Whether a caller is the client that a key belongs to. */
export function ownsKey(caller: Pick<RegisteredClient, 'id'>, apiKey: ApiKey | undefined): boolean {
  return apiKey?.owner.kind === 'client' && apiKey.owner.clientId === caller.id;
}

/** Only the token's own client may revoke it, and is told so (RFC 7009, section 2.1). */
export function mayRevoke(caller: Client, token: { clientId?: string | undefined }): boolean {
  if (token.clientId === caller.clientId) return true;
  throw refusedRevocation();
}

/** What a client is told that may not revoke the token or key which it presented. */
export function refusedRevocation(): errors.InvalidRequest {
  return new errors.InvalidRequest('client is not authorized to revoke the presented token');
}

/** Browsers may call from the origins that the client registered, and from no others. */
export function isOriginAllowed(origin: string, client: Client): boolean {
  const origins: unknown = client[ALLOWED_ORIGINS];
  return Array.isArray(origins) && origins.includes(origin);
}

/** A year: RFC 9700, section 4.14.2 wants a refresh token's chain to end by itself one day. */
export const LONGEST_REFRESH_CHAIN_SECONDS = 365 * 24 * 60 * 60;

/** Refresh tokens rotate where nothing else proves who uses them: for public clients without a bound key (RFC 9700, section 4.14.2). */
export function rotatesRefreshToken({ oidc }: KoaContextWithOIDC): boolean {
  const { refreshToken, client } = oidc;
  if (refreshToken === undefined || client === undefined) return false;
  if (refreshToken.totalLifetime() >= LONGEST_REFRESH_CHAIN_SECONDS) return false;
  return client.clientAuthMethod === 'none' && !refreshToken.isSenderConstrained();
}
