import { InvalidArgumentError } from 'commander';

/** For options that may be given several times. */
export function repeatable(value: string, before: unknown): string[] {
  return Array.isArray(before) ? [...before, value] : [value];
}

/** For options that count something. */
export function wholeNumber(value: string): number {
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new InvalidArgumentError('It wants a whole number above 0.');
  return Number(value);
}

/** For options that name what need not exist any more. */
export function identifier(value: string): string {
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
