import { randomBytes, randomUUID } from 'node:crypto';
import type { AdapterPayload } from 'oidc-provider';
import { type RegisteredClient, usesSecret } from '../clients/index.ts';

/** Our own member of the client metadata that the library sees: the origins that may call from a browser. */
export const ALLOWED_ORIGINS = 'allowed_origins';

/**
 * The library wants a secret for clients that have one. It is given a random value of this process and never a stored
 * one: it accepted an HS256 request object that was signed with the stored digest. The comparison is ours.
 */
export const SECRET_PLACEHOLDER = randomBytes(32).toString('base64url');

/**
 * A registered client as the library wants to find it.
 *
 * Keys at a `jwks_uri` are kept by the library's client, which it makes anew for metadata that it has not seen, and asked
 * for again only when no key fits: one that its owner took away would be good for ever. So each time that the client is
 * asked for (once a minute, database/change-cache.ts) its metadata differ in a member that nobody reads.
 */
export function toProviderMetadata(client: Pick<RegisteredClient, 'metadata' | 'allowedOrigins'>): AdapterPayload {
  return {
    ...client.metadata,
    [ALLOWED_ORIGINS]: client.allowedOrigins,
    // The library writes thumbprints of certificates into the keys that it is given, and the registry's are shared and frozen.
    ...(client.metadata.jwks && { jwks: { keys: client.metadata.jwks.keys.map((key) => ({ ...key })) } }),
    ...(client.metadata.jwks_uri === undefined ? undefined : { found: randomUUID() }),
    ...(usesSecret(client.metadata) ? { client_secret: SECRET_PLACEHOLDER } : undefined),
  } as AdapterPayload;
}

/** Our own member of the client metadata by which its access tokens live shorter than their API says, in seconds. */
export const ACCESS_TOKEN_TTL = 'access_token_ttl_seconds';

/** How long an access token of a client lives: as its API, or the server, says, and no longer than the client may have it. */
export function accessTokenSeconds(
  client: { [member: string]: unknown } | undefined,
  token: { resourceServer?: { accessTokenTTL?: number | undefined } | undefined },
  otherwise: number,
): number {
  const most = client?.[ACCESS_TOKEN_TTL];
  const seconds = token.resourceServer?.accessTokenTTL ?? otherwise;
  return typeof most === 'number' ? Math.min(most, seconds) : seconds;
}

/** Our own member of the client metadata by which a confidential client may go without PKCE. */
export const REQUIRE_PKCE = 'require_pkce';

/** PKCE is asked of everyone (RFC 9700, section 2.1.1); only a client that proves who it is may be registered without. */
export function isPkceRequired(client: { clientAuthMethod?: string | undefined; [member: string]: unknown }): boolean {
  return client.clientAuthMethod === 'none' || client[REQUIRE_PKCE] !== false;
}
