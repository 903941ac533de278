import { InvalidArgumentError } from 'commander';
import { isMeantAsApiKey, parseApiKeyClientId, toDay } from '../api-keys/index.ts';
import { AppError } from '../errors.ts';

/** For options that may be given several times. */
export function repeatable(value: string, before: unknown): string[] {
  return Array.isArray(before) ? [...before, value] : [value];
}

/** For options that count something. */
export function wholeNumber(value: string): number {
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new InvalidArgumentError('It wants a whole number above 0.');
  return Number(value);
}

/** For options that name what need not exist any more. What may be a whole API key is refused without being repeated. */
export function identifier(value: string): string {
  if (isMeantAsApiKey(value) && parseApiKeyClientId(value) === undefined) {
    // Commander would repeat it in its own error.
    throw new AppError({
      code: 'invalid_request',
      message: 'of an API key, wants the id alone: tsk_ and 16 characters',
    });
  }
  if (!/^[^\p{Cc}\p{Cs}]{1,2048}$/u.test(value)) throw new InvalidArgumentError('It wants an identifier.');
  return value;
}

/** For options that list words between spaces, such as `--scope "a b"`. */
export function words(value: string): string[] {
  return value.split(/\s+/).filter((word) => word !== '');
}

/** For options that name what is read from standard input and nothing else: the value would be seen by others. */
export function standardInput(value: string): '-' {
  if (value === '-') return value;
  throw new InvalidArgumentError(
    'It wants - and the value on standard input: arguments can be read by other processes.',
  );
}

/** For options that count something, of which there may be none. */
export function wholeNumberOrZero(value: string): number {
  return value === '0' ? 0 : wholeNumber(value);
}

/** For options that name a moment: ISO 8601 with a time zone: another one than was meant would end the key hours early or late. */
export function time(value: string): Date {
  const isWhole = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/.test(value);
  const parsed = new Date(value);
  if (!isWhole || Number.isNaN(parsed.getTime())) {
    throw new InvalidArgumentError('It wants a time with its zone, such as 2027-01-31T00:00:00Z.');
  }
  return parsed;
}

/** For options that name a day (UTC). */
export function day(value: string): string {
  const parsed = new Date(`${value}T00:00:00Z`);
  if (!/^\d{4}-\d{2}-\d{2}$/.test(value) || Number.isNaN(parsed.getTime()) || toDay(parsed.getTime()) !== value) {
    throw new InvalidArgumentError('It wants a day, such as 2026-11-25.');
  }
  return value;
}
