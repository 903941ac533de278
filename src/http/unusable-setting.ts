import { AppError } from '../errors.ts';

/** A setting that can't be used as it is: a port that is taken, a file that holds something else. Ends a start. */
export function unusableSetting(message: string, cause?: unknown): AppError {
  return new AppError({ code: 'configuration', message, cause });
}
