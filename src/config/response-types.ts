/**
 * What an authorization request may ask for (OAuth 2.0 Multiple Response Type Encoding Practices, section 5), as it is
 * written in registrations. Those with `token` put an access token into a URL (RFC 9700, section 2.1.2).
 */
export const RESPONSE_TYPES = [
  'code',
  'id_token',
  'id_token token',
  'code id_token',
  'code token',
  'code id_token token',
] as const;

export type ResponseType = (typeof RESPONSE_TYPES)[number];

/** The same type whatever the order of its words. @returns undefined: there is none such */
export function toResponseType(value: string): ResponseType | undefined {
  const words = value.split(' ').sort().join(' ');
  return RESPONSE_TYPES.find((type) => type.split(' ').sort().join(' ') === words);
}
