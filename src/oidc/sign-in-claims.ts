import type { AccessToken, ClientCredentials, KoaContextWithOIDC } from 'oidc-provider';

/**
 * How and when the person behind a token signed in (RFC 9068, section 2.2.1), so that an API may ask for a newer or stronger
 * sign-in (RFC 9470). It stays the same in every token of a grant, refreshed ones too. A token for userinfo alone goes to
 * no API, and a service has not signed in.
 */
export function signInClaims(
  context: KoaContextWithOIDC,
  token: AccessToken | ClientCredentials,
): Record<string, unknown> {
  if (!('accountId' in token) || token.aud === undefined) return {};
  const { AuthorizationCode, RefreshToken, DeviceCode, BackchannelAuthenticationRequest } = context.oidc.entities;
  const source = AuthorizationCode ?? RefreshToken ?? DeviceCode ?? BackchannelAuthenticationRequest;
  if (source === undefined) return {};
  const { authTime, acr, amr } = source;
  return {
    ...(authTime === undefined ? undefined : { auth_time: authTime }),
    ...(acr === undefined ? undefined : { acr }),
    ...(amr === undefined ? undefined : { amr }),
  };
}
