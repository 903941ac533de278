import type { Configuration, KoaContextWithOIDC } from 'oidc-provider';
import type { Config } from '../config/index.ts';
import { boundedByApiKey } from './api-key-grant.ts';
import { LONGEST_REFRESH_CHAIN_SECONDS } from './policies.ts';
import { codeSeconds } from './profile-features.ts';
import { accessTokenSeconds } from './provider-client.ts';
import { boundedByExchange } from './token-exchange-claims.ts';

/** How long everything lives that the protocol stores or issues, in seconds. */
export function lifetimesOf(config: Pick<Config, 'lifetimes' | 'profile'>): NonNullable<Configuration['ttl']> {
  const { lifetimes } = config;
  return {
    AccessToken: (_context, token, client) => accessTokenSeconds(client, token, lifetimes.accessTokenSeconds),
    ClientCredentials: (context, token, client) =>
      boundedByApiKey(
        context,
        boundedByExchange(context, accessTokenSeconds(client, token, lifetimes.accessTokenSeconds)),
      ),
    AuthorizationCode: (_context, _code, client) => codeSeconds(config, client),
    DeviceCode: lifetimes.deviceCodeSeconds,
    // It lives as long as refresh tokens may hang on it; then a person is asked again. Else it ends with the session.
    Grant: (_context, grant) =>
      grant.openid?.scope?.split(' ').includes('offline_access')
        ? Math.max(LONGEST_REFRESH_CHAIN_SECONDS, lifetimes.refreshTokenSeconds)
        : lifetimes.sessionSeconds,
    IdToken: lifetimes.idTokenSeconds,
    Interaction: lifetimes.interactionSeconds,
    RefreshToken: (context, token, client) =>
      refreshTokenSeconds(context, client, token, lifetimes.refreshTokenSeconds),
    Session: (_context, session) => sessionTtlSeconds(session, lifetimes.sessionSeconds),
  };
}

/** Rotation must not stretch the life of a browser app's tokens (OAuth 2.0 for Browser-Based Apps, section 8.2). */
function refreshTokenSeconds(
  context: KoaContextWithOIDC | undefined,
  client: NonNullable<KoaContextWithOIDC['oidc']['client']>,
  token: { isSenderConstrained(): boolean },
  seconds: number,
): number {
  const rotated = context?.oidc?.entities.RotatedRefreshToken;
  const isPublicWebClient = client.applicationType === 'web' && client.clientAuthMethod === 'none';
  return rotated !== undefined && isPublicWebClient && !token.isSenderConstrained() ? rotated.remainingTTL : seconds;
}

/** A session in which nobody signed in holds a logout form or nothing: anyone can have as many as they ask for. */
const ANONYMOUS_SESSION_SECONDS = 600;

/** A session ends a fixed time after the sign-in, however much it is used (OWASP ASVS 5.0, 7.3.2). */
function sessionTtlSeconds(
  session: { accountId?: string | undefined; loginTs?: number | undefined },
  seconds: number,
): number {
  if (session.accountId === undefined || session.loginTs === undefined) return ANONYMOUS_SESSION_SECONDS;
  return Math.max(1, session.loginTs + seconds - Math.floor(Date.now() / 1000));
}
