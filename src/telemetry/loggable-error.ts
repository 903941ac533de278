import { types } from 'node:util';

type LoggableError = Readonly<{
  type: string;
  message: string;
  stack?: string | undefined;
  code?: string | number | undefined;
  cause?: LoggableError | undefined;
}>;

/** Of causes of causes: an error may be its own. */
const MAX_CAUSES = 8;

/**
 * What is logged of an error and of its causes, and nothing else of them: libraries hang on theirs whatever was at hand,
 * such as the connection with the key that cancels its queries (`pg`).
 *
 * @param error whatever was thrown
 */
export function loggableError(error: unknown, causesLeft = MAX_CAUSES): LoggableError {
  if (!(types.isNativeError(error) || error instanceof Error)) return ofNoError(error);
  const { message, stack, cause } = error;
  const code = 'code' in error ? error.code : undefined;
  return {
    type: error.constructor.name,
    message,
    stack,
    code: typeof code === 'string' || typeof code === 'number' ? code : undefined,
    cause: cause === undefined || causesLeft === 0 ? undefined : loggableError(cause, causesLeft - 1),
  };
}

function ofNoError(thrown: unknown): LoggableError {
  const isObject = (typeof thrown === 'object' && thrown !== null) || typeof thrown === 'function';
  return { type: typeof thrown, message: isObject ? Object.prototype.toString.call(thrown) : String(thrown) };
}
