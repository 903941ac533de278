/**
 * Control characters, which no name needs and PostgreSQL partly can't store (NUL), and the ones that turn the direction
 * of what follows, with which a client could show a person another name than its own.
 */
const REFUSED_CHARACTERS = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/u;

/** Whether a text can be stored and shown as it is: well-formed Unicode without control characters. */
export function isPlainText(value: string): boolean {
  return value.isWellFormed() && !REFUSED_CHARACTERS.test(value);
}
