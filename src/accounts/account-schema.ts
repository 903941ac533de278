import { z } from 'zod';

/** RFC 5321, section 4.5.3.1: a path has 256 octets, two of which are its angle brackets. */
const MAX_EMAIL_LENGTH = 254;
const MAX_USERNAME_LENGTH = 64;
const MAX_LINE_LENGTH = 255;
const MAX_URL_LENGTH = 2_048;
const MAX_ADDRESS_LENGTH = 1_024;

/** What no name or address contains; PostgreSQL can't store NUL, and line breaks forge lines where one is expected. */
const CONTROL_CHARACTER = /\p{Cc}/u;
const CONTROL_CHARACTER_BUT_NEWLINE = /(?![\r\n])\p{Cc}/u;

const text = z.string('wants text').trim().min(1, 'wants a value');
const line = text
  .max(MAX_LINE_LENGTH, `wants at most ${MAX_LINE_LENGTH} characters`)
  .refine((value) => value.isWellFormed() && !CONTROL_CHARACTER.test(value), 'wants one line of text');
const lines = text
  .max(MAX_ADDRESS_LENGTH, `wants at most ${MAX_ADDRESS_LENGTH} characters`)
  .refine((value) => value.isWellFormed() && !CONTROL_CHARACTER_BUT_NEWLINE.test(value), 'wants plain text');

/** http(s) alone: apps put these into `href` and `src`, where `javascript:` would run. */
const webAddress = line
  .max(MAX_URL_LENGTH)
  .refine((value) => /^https?:$/.test(URL.parse(value)?.protocol ?? ''), 'wants an http or https URL');

const birthdate = text.refine(
  isBirthdate,
  'wants a date such as 1985-12-31, a year alone, or 0000-12-31 where the year is not told',
);
const zoneinfo = text.refine(isTimeZone, 'wants a time zone of the IANA database such as Europe/Paris');
const locale = text.refine(isLanguageTag, 'wants a language tag such as en or pt-BR (BCP 47)');
/** E.164, with the separators of its notation for print, and an extension as RFC 3966 writes it (OIDC Core 5.1). */
const phoneNumber = text.refine(
  (value) => /^\+[1-9][0-9 ().-]*(;ext=\d{1,10})?$/.test(value) && isDigitCount(value.split(';')[0] ?? '', 5, 15),
  'wants a number with its country code such as +1 425 555 1212',
);

const address = z.strictObject({
  formatted: lines.optional(),
  streetAddress: lines.optional(),
  locality: line.optional(),
  region: line.optional(),
  postalCode: line.optional(),
  country: line.optional(),
});

const flag = z.boolean('wants true or false');

/** What a person tells of themselves: the standard claims of OpenID Connect Core, section 5.1. */
const profileSchema = z
  .strictObject({
    name: line.optional(),
    givenName: line.optional(),
    familyName: line.optional(),
    middleName: line.optional(),
    nickname: line.optional(),
    preferredUsername: line.optional(),
    profile: webAddress.optional(),
    picture: webAddress.optional(),
    website: webAddress.optional(),
    gender: line.optional(),
    birthdate: birthdate.optional(),
    zoneinfo: zoneinfo.optional(),
    locale: locale.optional(),
    phoneNumber: phoneNumber.optional(),
    isPhoneNumberVerified: flag.optional(),
    address: address.optional(),
  })
  .refine((profile) => profile.phoneNumber !== undefined || profile.isPhoneNumberVerified !== true, {
    path: ['phoneNumber'],
    message: 'wants a value where isPhoneNumberVerified is true',
  });

export type Profile = z.infer<typeof profileSchema>;

/** Everything of an account that a person or an operator can choose, the password aside. */
export const accountDetailsSchema = z.strictObject({
  email: text
    .max(MAX_EMAIL_LENGTH, `wants at most ${MAX_EMAIL_LENGTH} characters`)
    .pipe(z.email('wants an e-mail address such as ada@example.com')),
  username: text
    .max(MAX_USERNAME_LENGTH, `wants at most ${MAX_USERNAME_LENGTH} characters`)
    // No @: a user name must never be taken for somebody's e-mail address. ASCII: look-alikes would pass for others.
    .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/, 'wants letters, digits and . _ - between them')
    .optional(),
  isEmailVerified: flag,
  profile: profileSchema,
});

export type AccountDetails = z.infer<typeof accountDetailsSchema>;

/**
 * The form in which log-in names are compared: without blanks around it, in lower case.
 *
 * @returns undefined for what can't be anyone's name. Only ASCII can be: else look-alikes that fold to the same letter
 *   (such as the Kelvin sign to k) would reach the account and be counted as other names by whoever counts attempts
 */
export function toLoginKey(login: string): string | undefined {
  const key = login.trim();
  return key.length > 0 && key.length <= MAX_EMAIL_LENGTH && /^[\x21-\x7e]+$/.test(key) ? key.toLowerCase() : undefined;
}

function isBirthdate(value: string): boolean {
  if (/^\d{4}$/.test(value)) return value !== '0000';
  const [, year, month, day] = /^(\d{4})-(\d{2})-(\d{2})$/.exec(value) ?? [];
  if (year === undefined) return false;
  // A leap year stands in for the year that is not told, so that 29 February is accepted.
  const date = new Date(`${year === '0000' ? '2000' : year}-${month}-${day}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.getUTCDate() === Number(day);
}

function isTimeZone(value: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: value });
    return !/^[+-]/.test(value);
  } catch {
    return false;
  }
}

function isLanguageTag(value: string): boolean {
  try {
    return Intl.getCanonicalLocales(value).length === 1;
  } catch {
    return false;
  }
}

function isDigitCount(value: string, minimum: number, maximum: number): boolean {
  const count = value.replace(/\D/g, '').length;
  return count >= minimum && count <= maximum;
}
