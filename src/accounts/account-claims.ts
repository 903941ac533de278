import type { Account, Profile } from './account.ts';

/** The names of OpenID Connect Core, section 5.1, for what we call otherwise; also the form in which a profile is stored. */
const profileNames = {
  name: 'name',
  givenName: 'given_name',
  familyName: 'family_name',
  middleName: 'middle_name',
  nickname: 'nickname',
  preferredUsername: 'preferred_username',
  profile: 'profile',
  picture: 'picture',
  website: 'website',
  gender: 'gender',
  birthdate: 'birthdate',
  zoneinfo: 'zoneinfo',
  locale: 'locale',
  phoneNumber: 'phone_number',
  isPhoneNumberVerified: 'phone_number_verified',
} as const satisfies Record<Exclude<keyof Profile, 'address'>, string>;

const addressNames = {
  formatted: 'formatted',
  streetAddress: 'street_address',
  locality: 'locality',
  region: 'region',
  postalCode: 'postal_code',
  country: 'country',
} as const satisfies Record<keyof NonNullable<Profile['address']>, string>;

/** The standard claims of a person (OpenID Connect Core, section 5.1), `sub` among them; what is unknown is left out. */
export function toClaims(account: Account): Record<string, unknown> {
  return {
    sub: account.id,
    ...(account.username === undefined ? {} : { preferred_username: account.username }),
    ...profileToClaims(account.profile),
    email: account.email,
    email_verified: account.isEmailVerified,
    updated_at: Math.floor(account.updatedAt.getTime() / 1000),
  };
}

/** A profile under the names of its claims. */
export function profileToClaims(profile: Readonly<Profile>): Record<string, unknown> {
  const address = renamed(profile.address ?? {}, addressNames);
  return { ...renamed(profile, profileNames), ...(Object.keys(address).length === 0 ? {} : { address }) };
}

/** The way back, for what {@link profileToClaims} has made. */
export function claimsToProfile(claims: Record<string, unknown>): Profile {
  const address = renamed((claims.address ?? {}) as Record<string, unknown>, inverted(addressNames));
  return { ...renamed(claims, inverted(profileNames)), ...(Object.keys(address).length === 0 ? {} : { address }) };
}

function renamed(source: Record<string, unknown>, names: Record<string, string>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(names)
      .filter(([from]) => source[from] !== undefined)
      .map(([from, to]) => [to, source[from]]),
  );
}

function inverted(names: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(names).map(([ours, claim]) => [claim, ours]));
}
