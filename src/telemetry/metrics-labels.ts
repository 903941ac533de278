/**
 * The closed lists that every metric label is drawn from. A label that a caller could choose would let anyone grow the
 * registry without end, or write a secret into it.
 */
import { METHODS, STATUS_CODES } from 'node:http';

const OTHER = 'other';

/** The endpoints of the server by their names in the protocol, as they stand in log lines and metric labels. */
export const ENDPOINTS = [
  'account',
  'admin',
  'asset',
  'authorization',
  'backchannel_authentication',
  'code_verification',
  'device_authorization',
  'discovery',
  'end_session',
  'health',
  'interaction',
  'introspection',
  'jwks',
  'playground',
  'pushed_authorization_request',
  'registration',
  'revocation',
  'token',
  'userinfo',
  OTHER,
] as const;

export type Endpoint = (typeof ENDPOINTS)[number];

const GRANT_TYPES = new Set([
  'authorization_code',
  'client_credentials',
  'refresh_token',
  'urn:ietf:params:oauth:grant-type:device_code',
  'urn:ietf:params:oauth:grant-type:jwt-bearer',
  'urn:ietf:params:oauth:grant-type:token-exchange',
  'urn:openid:params:grant-type:ciba',
]);

/** What a token request may be refused with: RFC 6749 (5.2), 6750, 8628, 8707, 9449, OpenID Connect CIBA; and our 5xx. */
const TOKEN_ERRORS = new Set([
  'access_denied',
  'authorization_pending',
  'expired_token',
  'insufficient_scope',
  'invalid_client',
  'invalid_dpop_proof',
  'invalid_grant',
  'invalid_request',
  'invalid_scope',
  'invalid_target',
  'invalid_token',
  'server_error',
  'slow_down',
  'temporarily_unavailable',
  'unauthorized_client',
  'unsupported_grant_type',
  'use_dpop_nonce',
]);

const endpoints: ReadonlySet<string> = new Set(ENDPOINTS);
const methods: ReadonlySet<string> = new Set(METHODS);

export const endpointLabel = (endpoint: string | undefined): string => oneOf(endpoints, endpoint);
export const methodLabel = (method: string): string => oneOf(methods, method);
export const grantTypeLabel = (grantType: string | undefined): string => oneOf(GRANT_TYPES, grantType);

/** @param status absent where the peer left before it had the whole answer */
export function statusLabel(status: number | undefined): string {
  if (status === undefined) return 'aborted';
  return status in STATUS_CODES ? String(status) : OTHER;
}

/** `ok`, or the OAuth error code; a fault that bears none is `server_error`. */
export function tokenOutcomeLabel(status: number | undefined, error: string | undefined): string {
  if (status === undefined) return 'aborted';
  if (error !== undefined) return oneOf(TOKEN_ERRORS, error);
  if (status < 400) return 'ok';
  return status >= 500 ? 'server_error' : OTHER;
}

function oneOf(list: ReadonlySet<string>, value: string | undefined): string {
  return value !== undefined && list.has(value) ? value : OTHER;
}
