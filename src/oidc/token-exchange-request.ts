import { errors } from 'oidc-provider';

export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';
const API_KEY_TYPE = 'urn:tessera:token-type:api_key';

const SUBJECT_TYPES = [ACCESS_TOKEN_TYPE, JWT_TYPE, API_KEY_TYPE] as const;
const ACTOR_TYPES = [ACCESS_TOKEN_TYPE, JWT_TYPE] as const;

/** The parameters of RFC 8693, section 2.1; `grant_type` aside. */
export const EXCHANGE_PARAMETERS = [
  'actor_token',
  'actor_token_type',
  'audience',
  'requested_token_type',
  'resource',
  'scope',
  'subject_token',
  'subject_token_type',
] as const;

/** Those that may be there several times; they are refused here, by an error of their own (section 2.2.2). */
export const REPEATABLE_PARAMETERS = ['audience', 'resource'] as const;

/** A token as somebody presented it. `access_token` may have either format. */
export type Presented = Readonly<{ value: string; kind: 'access_token' | 'jwt' | 'api_key' }>;

export type ExchangeRequest = Readonly<{
  subject: Presented;
  actor?: Presented;
  /** The API that the new token is for. */
  resource?: string;
  /** As asked for; absent: whatever there is. */
  scopes?: readonly string[];
}>;

/**
 * Checks what can be said of a token exchange request without looking at any token.
 *
 * @throws {errors.InvalidRequest} where a parameter is missing, unknown or of a type that is not supported
 * @throws {errors.InvalidTarget} where it names no single API
 */
export function readExchangeRequest(parameters: Readonly<Record<string, unknown>>): ExchangeRequest {
  const actor = readActor(parameters);
  const resource = readTarget(parameters);
  const { requested_token_type: requested, scope } = parameters;
  if (requested !== undefined && requested !== ACCESS_TOKEN_TYPE) {
    throw new errors.InvalidRequest(`requested_token_type must be ${ACCESS_TOKEN_TYPE} or left out`);
  }
  return {
    subject: {
      value: required(parameters, 'subject_token'),
      kind: kindOf(required(parameters, 'subject_token_type'), SUBJECT_TYPES, 'subject_token_type'),
    },
    ...(actor && { actor }),
    ...(resource === undefined ? undefined : { resource }),
    ...(typeof scope === 'string' ? { scopes: [...new Set(scope.split(' '))] } : undefined),
  };
}

function readActor(parameters: Readonly<Record<string, unknown>>): Presented | undefined {
  const { actor_token: value, actor_token_type: type } = parameters;
  if (value === undefined && type === undefined) return undefined;
  if (typeof value !== 'string' || typeof type !== 'string') {
    throw new errors.InvalidRequest('actor_token and actor_token_type are given together or not at all');
  }
  return { value, kind: kindOf(type, ACTOR_TYPES, 'actor_token_type') };
}

/** `audience` and `resource` both name the API by its identifier; the token is for one. */
function readTarget({ audience, resource }: Readonly<Record<string, unknown>>): string | undefined {
  const named = new Set([audience, resource].flat().filter((name) => typeof name === 'string'));
  if (named.size > 1) throw new errors.InvalidTarget('the token can be for one API only');
  const [only] = named;
  return only;
}

function required(parameters: Readonly<Record<string, unknown>>, name: string): string {
  const value = parameters[name];
  if (typeof value !== 'string') throw new errors.InvalidRequest(`missing required parameter '${name}'`);
  return value;
}

function kindOf(type: string, supported: readonly string[], parameter: string): Presented['kind'] {
  if (!supported.includes(type)) {
    throw new errors.InvalidRequest(`${parameter} must be one of: ${supported.join(', ')}`);
  }
  if (type === API_KEY_TYPE) return 'api_key';
  return type === JWT_TYPE ? 'jwt' : 'access_token';
}
