/**
 * NIST SP 800-63B-4, section 3.1.1.2, lets 8 characters pass beside a second factor (and asks for 15 where there is none);
 * OWASP ASVS 5.0, 6.2.1, takes 8 as the least. No rules of composition, by both.
 */
const MIN_LENGTH = 8;

/** Far above the 64 characters that must be possible; what is longer is refused, since to cut it off would be worse. */
const MAX_BYTES = 1_024;

/**
 * The bytes that are hashed: NFC, as NIST SP 800-63B-4, section 3.1.1.2, has it (revision 3 said NFKC), so that é is the
 * same password whether a keyboard sends one code point or two; then UTF-8, never cut off.
 *
 * @returns undefined for what can't be anyone's password: over 1,024 bytes, or not Unicode
 */
export function toPasswordBytes(password: string): Buffer | undefined {
  // Before any work is done on it: normalizing can't make it shorter than a third.
  if (password.length > MAX_BYTES * 3 || !password.isWellFormed()) return undefined;
  const bytes = Buffer.from(password.normalize('NFC'), 'utf8');
  return bytes.length <= MAX_BYTES ? bytes : undefined;
}

/** What a new password wants for, or undefined. Every code point counts as one character. */
export function passwordFault(password: string): string | undefined {
  if (toPasswordBytes(password) === undefined) return `wants at most ${MAX_BYTES} bytes of text`;
  if ([...password.normalize('NFC')].length < MIN_LENGTH) return `wants at least ${MIN_LENGTH} characters`;
  return undefined;
}
