import * as openid from 'openid-client';
import { settings } from './settings.js';

const redirectUri = `${settings.origin}/callback`;

const issuer = await openid.discovery(
  settings.issuer,
  settings.clientId,
  undefined,
  openid.ClientSecretBasic(settings.clientSecret),
  {
    // http is for an issuer on this machine alone: the settings have no other.
    execute: settings.issuer.protocol === 'http:' ? [openid.allowInsecureRequests] : [],
    timeout: 5,
  },
);

/** @returns where the browser is sent, and what has to be known when it comes back */
export async function beginSignIn() {
  const begun = {
    codeVerifier: openid.randomPKCECodeVerifier(),
    state: openid.randomState(),
    nonce: openid.randomNonce(),
  };
  const url = openid.buildAuthorizationUrl(issuer, {
    redirect_uri: redirectUri,
    // Consent is asked for each time, as OpenID Connect wants it where a refresh token is to be had (Core 1.0, section 11).
    scope: `openid offline_access ${settings.apiScope}`,
    prompt: 'consent',
    resource: settings.audience,
    // The access token is for the API, so that userinfo won't take it: the name comes in the ID token (section 5.5).
    claims: JSON.stringify({ id_token: { name: null } }),
    code_challenge: await openid.calculatePKCECodeChallenge(begun.codeVerifier),
    code_challenge_method: 'S256',
    state: begun.state,
    nonce: begun.nonce,
  });
  return { url, begun };
}

/** @param url that the browser came back to @throws where that is no answer to what was begun, or a refusal */
export async function completeSignIn(url, { codeVerifier, state, nonce }) {
  // What is missing would not be checked, and somebody else's code would do.
  if (!codeVerifier || !state || !nonce) throw new Error('this browser has begun none');
  const tokens = await openid.authorizationCodeGrant(
    issuer,
    new URL(url, settings.origin),
    { pkceCodeVerifier: codeVerifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true },
    { resource: settings.audience },
  );
  const { sub, name } = tokens.claims();
  return { name: name ?? sub, ...kept(tokens) };
}

/** An access token that is good for some time yet. @throws with the error `invalid_grant` where it is all over */
export async function accessTokenOf(session) {
  if (Date.now() < session.renewAt) return session.accessToken;
  // Requests at the same time share one refresh.
  session.renewal ??= renew(session).finally(() => {
    session.renewal = undefined;
  });
  await session.renewal;
  return session.accessToken;
}

async function renew(session) {
  const { refreshToken } = session;
  // The issuer gave none: the session lasts as long as its first access token.
  if (refreshToken === undefined) throw Object.assign(new Error('no refresh token'), { error: 'invalid_grant' });
  const tokens = await openid.refreshTokenGrant(issuer, refreshToken, { resource: settings.audience });
  // The refresh token of a client with a secret stays; where a new one comes, that counts.
  Object.assign(session, kept({ refresh_token: refreshToken, ...tokens }));
}

function kept({ access_token, refresh_token, expires_in }) {
  return {
    accessToken: access_token,
    refreshToken: refresh_token,
    renewAt: Date.now() + (expires_in - settings.renewBeforeSeconds) * 1_000,
  };
}

/** Ends all tokens of the session. @returns where the browser is sent, to be signed out there too */
export async function signOut({ refreshToken, accessToken }) {
  await openid
    .tokenRevocation(issuer, refreshToken ?? accessToken)
    .catch((error) => console.error('not revoked:', error.message));
  // Without an ID token as a hint: in an address it would stay in the browser's history.
  return openid.buildEndSessionUrl(issuer, { post_logout_redirect_uri: `${settings.origin}/` });
}
