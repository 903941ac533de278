import { AppError } from '../errors.ts';
import type { ArtifactKind, ArtifactPayload } from './artifact.ts';

/** By what an artifact is found or revoked besides its own value. */
export type ArtifactReferences = {
  grantId: string | undefined;
  sessionUid: string | undefined;
  clientId: string | undefined;
  accountId: string | undefined;
};

/** Kinds that die with the account or client they were issued to; grants and sessions do as tombstones. */
export const REVOCABLE_KINDS: readonly ArtifactKind[] = [
  'AccessToken',
  'AuthorizationCode',
  'RefreshToken',
  'ClientCredentials',
  'DeviceCode',
  'BackchannelAuthenticationRequest',
  // In it a password that was proved waits until the browser follows the redirect.
  'Interaction',
];

/** Kinds of which a destroyed one must not come back. */
export const TOMBSTONED_KINDS: readonly ArtifactKind[] = ['Grant', 'Session'];

/** Kinds that say whether a token is alive and that a process may hold for a moment (artifact-cache.ts). */
export const CACHED_KINDS: readonly ArtifactKind[] = ['AccessToken', 'ClientCredentials', 'Grant', 'Session'];

/**
 * Reads the references out of a payload. A grant refers to itself, so that it is found by any of the three. An interaction
 * refers to no grant, for its person may go on and allow it afresh.
 *
 * @throws AppError `server_error` where one holds a NUL, which PostgreSQL keeps in no text column
 */
export function referencesOf(kind: ArtifactKind, id: string, payload: ArtifactPayload): ArtifactReferences {
  const read = (...path: string[]) => {
    const value = path.reduce<unknown>(memberOf, payload);
    return typeof value === 'string' ? storable(path.join('.'), value) : undefined;
  };
  if (kind === 'Interaction') {
    return {
      grantId: undefined,
      sessionUid: undefined,
      clientId: read('params', 'client_id'),
      accountId:
        read('result', 'login', 'accountId') ??
        read('lastSubmission', 'login', 'accountId') ??
        read('session', 'accountId'),
    };
  }
  return {
    grantId: kind === 'Grant' ? storable('jti', id) : read('grantId'),
    sessionUid: kind === 'Session' ? read('uid') : undefined,
    clientId: read('clientId'),
    accountId: read('accountId'),
  };
}

function memberOf(value: unknown, member: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[member] : undefined;
}

/** Whether a text column could hold this value at all. */
export function isStorable(value: string): boolean {
  return !value.includes('\0');
}

function storable(member: string, value: string): string {
  if (isStorable(value)) return value;
  throw new AppError({ code: 'server_error', message: `An artifact's ${member} must not contain a NUL character.` });
}
