import { describe, expect, test } from '@jest/globals';
import { accountDetailsSchema, toLoginKey } from '../../../src/accounts/account-schema.ts';

function accepts(details: { email?: string; username?: string; profile?: Record<string, unknown> }): boolean {
  return accountDetailsSchema.safeParse({ email: 'ada@example.com', isEmailVerified: false, profile: {}, ...details })
    .success;
}

describe('the details of an account', () => {
  test.each([
    ['birthdate', '1985-12-31', true],
    ['birthdate', '1985', true],
    ['birthdate', '0000-02-29', true],
    ['birthdate', '0000', false],
    ['birthdate', '1985-02-30', false],
    ['birthdate', '1985-13-01', false],
    ['birthdate', '31.12.1985', false],
    ['zoneinfo', 'Europe/Paris', true],
    ['zoneinfo', 'Europe/Atlantis', false],
    ['zoneinfo', '+02:00', false],
    ['locale', 'pt-BR', true],
    ['locale', 'en_US', false],
    ['phoneNumber', '+1 (604) 555-1234;ext=5678', true],
    ['phoneNumber', '+56 (2) 687 2400', true],
    ['phoneNumber', '0604 555 1234', false],
    ['phoneNumber', '+1', false],
    ['phoneNumber', '+1234567890123456', false],
    ['website', 'https://example.com/ada', true],
    ['website', 'javascript:alert(1)', false],
    ['picture', 'data:text/html,x', false],
    ['name', 'Ada Lovelace', true],
    ['name', 'Ada\nLovelace', false],
    ['name', 'Ada\0', false],
    ['name', 'Ada \ud800', false],
    ['name', '', false],
    ['name', 'x'.repeat(256), false],
    ['address', { formatted: '12 Square\nLondon', country: 'UK' }, true],
    ['address', { planet: 'Earth' }, false],
    ['shoeSize', '39', false],
  ])('%s %j: accepted %s', (member, value, isAccepted) => {
    expect(accepts({ profile: { [member]: value } })).toBe(isAccepted);
  });

  test('a phone number that is not there is not verified', () => {
    expect(accepts({ profile: { isPhoneNumberVerified: true } })).toBe(false);
    expect(accepts({ profile: { isPhoneNumberVerified: true, phoneNumber: '+1 425 555 1212' } })).toBe(true);
  });

  test.each(['ada@example.com', '@ada', 'a b', '-ada', 'ada.', 'аda', 'x'.repeat(65), ''])(
    'a user name can not be %j',
    (username) => {
      expect(accepts({ username })).toBe(false);
    },
  );

  test.each(['ada', 'Ada.Lovelace-1_2', 'a'])('a user name can be %j', (username) => {
    expect(accepts({ username })).toBe(true);
  });

  test.each(['ada', 'ada@', 'ada@localhost', 'ada lovelace@example.com', `${'x'.repeat(250)}@example.com`])(
    'an e-mail address can not be %j',
    (email) => {
      expect(accepts({ email })).toBe(false);
    },
  );
});

describe('a log-in name', () => {
  test('is compared without blanks around it, in lower case', () => {
    expect(toLoginKey('  Ada@Example.COM ')).toBe('ada@example.com');
  });

  test.each(['\u212Aurt', 'ada\0', 'ada lovelace', '', ' ', 'x'.repeat(255)])('%j is nobody', (login) => {
    expect(toLoginKey(login)).toBeUndefined();
  });
});
