import { types } from 'node:util';

/**
 * The closed list of our error codes, and the one class that carries them. Protocol errors are oidc-provider's own and
 * stay inside `oidc/`; an expected refusal inside a domain is a returned value, not an error.
 */
export type ErrorCode =
  | 'configuration'
  | 'conflict'
  | 'csrf'
  | 'database_unavailable'
  | 'interaction_expired'
  | 'invalid_request'
  | 'not_found'
  | 'payload_too_large'
  | 'server_error'
  | 'temporarily_unavailable'
  | 'unsupported_media_type';

const statusByCode: Record<ErrorCode, number> = {
  configuration: 500,
  conflict: 409,
  csrf: 403,
  database_unavailable: 503,
  interaction_expired: 400,
  invalid_request: 400,
  not_found: 404,
  payload_too_large: 413,
  server_error: 500,
  temporarily_unavailable: 503,
  unsupported_media_type: 415,
};

/** Why, in the words of the error. Errors of a connection that was tried at several addresses have only a code. */
export function reasonOf(error: unknown): string {
  if (!types.isNativeError(error)) return String(error);
  return error.message || ('code' in error ? String(error.code) : error.name);
}

/** Seconds that a client is asked to wait before it tries again, while the database is away. */
export const RETRY_AFTER_SECONDS = 2;

/** A fault or refusal that reaches a person or a program. `message` is public; what must stay inside goes into `cause`. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  /** Whole seconds for the `Retry-After` header (RFC 9110, section 10.2.3). */
  readonly retryAfterSeconds: number | undefined;

  constructor(fault: { code: ErrorCode; message: string; cause?: unknown; retryAfterSeconds?: number }) {
    super(fault.message, { cause: fault.cause });
    this.name = 'AppError';
    this.code = fault.code;
    this.status = statusByCode[fault.code];
    this.retryAfterSeconds = fault.retryAfterSeconds ?? (this.status === 503 ? RETRY_AFTER_SECONDS : undefined);
  }
}
