/** What a client, or the whole server, is held to, by one word (docs/profiles.md). */
export const PROFILES = ['oauth2.1', 'oidc-basic', 'fapi2-security', 'fapi2-message-signing', 'fapi-ciba'] as const;

export type Profile = (typeof PROFILES)[number];
