/** OpenID scopes and the claims that each stands for (OpenID Connect Core 1.0, section 5.4). */
export const OPENID_SCOPE_CLAIMS: Readonly<Record<string, string[]>> = {
  // How and when a person signed in stands in every ID token, asked for or not.
  openid: ['sub', 'acr', 'amr', 'auth_time'],
  profile: [
    'birthdate',
    'family_name',
    'gender',
    'given_name',
    'locale',
    'middle_name',
    'name',
    'nickname',
    'picture',
    'preferred_username',
    'profile',
    'updated_at',
    'website',
    'zoneinfo',
  ],
  email: ['email', 'email_verified'],
  address: ['address'],
  phone: ['phone_number', 'phone_number_verified'],
};

/** The one authentication context that a password reaches (OpenID Connect Core 1.0, section 2, `acr`). */
export const ACR_PASSWORD = 'urn:tessera:acr:password';
