import { AppError, type ErrorCode } from '../errors.ts';

/** What a domain refuses, and why. */
type Refusal = Readonly<{ code: string; reason: string }>;

const codes: Readonly<Record<string, ErrorCode>> = {
  conflict: 'conflict',
  in_use: 'conflict',
  not_found: 'not_found',
};

/** Ends a command on a refusal. @throws {AppError} always, with the reason as its one line */
export function refused({ code, reason }: Refusal): never {
  throw new AppError({ code: codes[code] ?? 'invalid_request', message: reason });
}
