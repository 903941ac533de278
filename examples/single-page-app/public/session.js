const { InMemoryWebStorage, IndexedDbDPoPStore, UserManager, WebStorageStateStore } = oidc;

const settings = await (await fetch('/settings.json')).json();
const { issuer, clientId, apiUrl, audience, apiScope, usesDpop, usesRefreshTokens } = settings;
const { origin } = location;

const manager = new UserManager({
  authority: issuer,
  client_id: clientId,
  redirect_uri: `${origin}/callback`,
  silent_redirect_uri: `${origin}/renewed.html`,
  post_logout_redirect_uri: `${origin}/`,
  scope: ['openid', apiScope, ...(usesRefreshTokens ? ['offline_access'] : [])].join(' '),
  // The access token is for the API, so that userinfo won't take it: the name comes in the ID token.
  resource: audience,
  extraTokenParams: { resource: audience },
  extraQueryParams: { claims: JSON.stringify({ id_token: { name: null } }) },
  // Tokens live in the memory of this page alone: a reload forgets them, and no other script of this origin finds any later.
  userStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
  // What has to outlive the way to the issuer and back: state, nonce and PKCE verifier, until they have been used.
  stateStore: new WebStorageStateStore({ store: sessionStorage }),
  // A key that signs in this browser and can't be read out of it.
  ...(usesDpop && { dpop: { store: new IndexedDbDPoPStore(), bind_authorization_code: true } }),
  automaticSilentRenew: false,
  accessTokenExpiringNotificationTimeInSeconds: settings.renewBeforeSeconds,
  silentRequestTimeoutInSeconds: 5,
});
manager.events.addAccessTokenExpiring(() => renew().catch((error) => console.info('not renewed:', error.message)));

/** What the issuer says where only the person can help; a network that is away says nothing. */
const SIGN_IN_AGAIN = new Set(['login_required', 'consent_required', 'interaction_required', 'invalid_grant']);
let renewal;

/**
 * Gets new tokens without the person's doing: by the refresh token where there is one, else in a hidden frame, from the
 * session at the issuer. Callers at the same time share one renewal.
 *
 * @returns the user; undefined where the person has to sign in
 */
export function renew() {
  renewal ??= renewOnce().finally(() => {
    renewal = undefined;
  });
  return renewal;
}

async function renewOnce() {
  try {
    return await manager.signinSilent({ resource: audience, nonce: crypto.randomUUID() });
  } catch (error) {
    if (!SIGN_IN_AGAIN.has(error.error)) throw error;
    // Where there is none, another tab may be signing in: it needs the key that would go with the user.
    if ((await manager.getUser()) !== null) await manager.removeUser();
    return undefined;
  }
}

export async function signIn() {
  // The issuer gives refresh tokens to who consents to it now (OpenID Connect Core 1.0, section 11).
  await manager.signinRedirect({ nonce: crypto.randomUUID(), ...(usesRefreshTokens && { prompt: 'consent' }) });
}

/** Redeems the code that the issuer has sent along. @returns the user */
export function completeSignIn() {
  const { href } = location;
  // Neither history nor bookmarks keep the code.
  history.replaceState(null, '', '/');
  return manager.signinRedirectCallback(href);
}

/** @returns what the API answers; undefined where the person has to sign in */
export async function callApi(path) {
  const kept = await manager.getUser();
  const user = kept === null || kept.expired ? await renew() : kept;
  if (!user) return undefined;
  const url = `${apiUrl}${path}`;
  const headers = { Authorization: `${user.token_type} ${user.access_token}` };
  if (usesDpop) headers.DPoP = await manager.dpopProof(url, user, 'GET');
  const response = await fetch(url, { headers });
  if (response.status === 401) await manager.removeUser();
  return response.status === 401 ? undefined : response.json();
}

/** Ends the tokens, then the session at the issuer. */
export async function signOut() {
  await manager.revokeTokens(['refresh_token', 'access_token']).catch((error) => console.info(error.message));
  // First, so that no ID token goes along in an address.
  await manager.removeUser();
  await manager.signoutRedirect({ extraQueryParams: {} });
}
