import { expect, test } from '@jest/globals';
import type { Account, Profile } from '../../../src/accounts/account.ts';
import { claimsToProfile, profileToClaims, toClaims } from '../../../src/accounts/account-claims.ts';

const account: Account = {
  id: '8f14e45f-ceea-4e7a-9c0d-3f2b6f0d1a11',
  email: 'ada@example.com',
  isEmailVerified: true,
  username: 'ada',
  isDisabled: false,
  isDemo: false,
  profile: {},
  roles: ['admin'],
  createdAt: new Date(1_000),
  updatedAt: new Date(1_700_000_000_999),
};

const fullProfile: Required<Profile> = {
  name: 'Ada King Lovelace',
  givenName: 'Ada',
  familyName: 'Lovelace',
  middleName: 'King',
  nickname: 'Countess',
  preferredUsername: 'ada.l',
  profile: 'https://example.com/ada',
  picture: 'https://example.com/ada.png',
  website: 'https://ada.example',
  gender: 'female',
  birthdate: '1815-12-10',
  zoneinfo: 'Europe/London',
  locale: 'en-GB',
  phoneNumber: '+44 20 7946 0000',
  isPhoneNumberVerified: false,
  address: {
    formatted: '12 Square\nLondon',
    streetAddress: '12 Square',
    locality: 'London',
    region: 'England',
    postalCode: 'SW1Y 4JH',
    country: 'United Kingdom',
  },
};

test('every standard claim is named as OpenID Connect Core 5.1 names it', () => {
  expect(toClaims({ ...account, profile: fullProfile })).toEqual({
    sub: account.id,
    name: 'Ada King Lovelace',
    given_name: 'Ada',
    family_name: 'Lovelace',
    middle_name: 'King',
    nickname: 'Countess',
    preferred_username: 'ada.l',
    profile: 'https://example.com/ada',
    picture: 'https://example.com/ada.png',
    website: 'https://ada.example',
    email: 'ada@example.com',
    email_verified: true,
    gender: 'female',
    birthdate: '1815-12-10',
    zoneinfo: 'Europe/London',
    locale: 'en-GB',
    phone_number: '+44 20 7946 0000',
    phone_number_verified: false,
    address: {
      formatted: '12 Square\nLondon',
      street_address: '12 Square',
      locality: 'London',
      region: 'England',
      postal_code: 'SW1Y 4JH',
      country: 'United Kingdom',
    },
    updated_at: 1_700_000_000,
  });
});

test('what is unknown is left out, and the user name is the preferred one', () => {
  expect(toClaims({ ...account, profile: { address: {} } })).toEqual({
    sub: account.id,
    preferred_username: 'ada',
    email: 'ada@example.com',
    email_verified: true,
    updated_at: 1_700_000_000,
  });
});

test('a profile survives being stored', () => {
  expect(claimsToProfile(profileToClaims(fullProfile))).toEqual(fullProfile);
  expect(claimsToProfile(profileToClaims({}))).toEqual({});
});
