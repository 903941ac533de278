import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import type { Accounts } from '../accounts/index.ts';
import { type Apis, authenticates, type Clients } from '../clients/index.ts';
import { failClosed } from './faults.ts';
import { ALLOWED_ORIGINS } from './provider-client.ts';

type Client = NonNullable<KoaContextWithOIDC['oidc']['client']>;

/** What a policy needs to know of a token, whatever its format. */
export type IntrospectedToken = {
  clientId?: string | undefined;
  accountId?: string | undefined;
  audience?: string | undefined;
};

/**
 * Whether a token is alive and the caller may know it. Alive: its client is still registered and its account, if it is
 * of a person, is there and enabled, which the library asks nobody. May know: the token's own client, a client named for
 * the API that it is for, or one registered to introspect all (RFC 7662, section 4); one that does not authenticate, its
 * own alone, whatever the registry says.
 */
export async function mayIntrospect(
  callerId: string,
  token: IntrospectedToken,
  registries: { clients: Clients; apis: Apis; accounts: Accounts },
): Promise<boolean> {
  return failClosed(async () => {
    const [caller, owner, account] = await Promise.all([
      registries.clients.find(callerId),
      token.clientId === undefined ? undefined : registries.clients.find(token.clientId),
      token.accountId === undefined ? undefined : registries.accounts.find(token.accountId),
    ]);
    if (caller === undefined || owner === undefined) return false;
    if (token.accountId !== undefined && (account === undefined || account.isDisabled)) return false;
    if (caller.id === owner.id) return true;
    if (!authenticates(caller.metadata)) return false;
    if (caller.mayIntrospectAny) return true;
    const api = registries.apis.all().find(({ identifier }) => identifier === token.audience);
    return api?.introspectionClientIds.includes(caller.id) ?? false;
  });
}

/** Only the token's own client may revoke it, and is told so (RFC 7009, section 2.1). */
export function mayRevoke(caller: Client, token: { clientId?: string | undefined }): boolean {
  if (token.clientId === caller.clientId) return true;
  throw new errors.InvalidRequest('client is not authorized to revoke the presented token');
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
