import { words } from './option-values.ts';
import { readJsonObject } from './standard-input.ts';

/** The options that `client create` and `client update` share. */
export type ClientFlags = {
  name?: string;
  redirectUri?: string[];
  postLogoutRedirectUri?: string[];
  grant?: string[];
  scope?: string;
  authMethod?: string;
  api?: string[] | false;
  introspectAny?: boolean;
  origin?: string[] | false;
  metadata?: string;
};

/** The members of RFC 7591 that were given: in a file, and above it by options. The registry checks them. */
export async function givenMetadata(flags: ClientFlags): Promise<Record<string, unknown>> {
  const inFile = flags.metadata === undefined ? {} : await readJsonObject(flags.metadata);
  const byOption = {
    client_name: flags.name,
    redirect_uris: flags.redirectUri,
    post_logout_redirect_uris: flags.postLogoutRedirectUri,
    grant_types: flags.grant,
    scope: flags.scope === undefined ? undefined : words(flags.scope).join(' '),
    token_endpoint_auth_method: flags.authMethod,
  };
  const given = Object.entries(byOption).filter(([, value]) => value !== undefined);
  return { ...inFile, ...Object.fromEntries(given) };
}

/** RFC 8252, section 7.3, and for those who can do no better, section 8.3. */
const LOOPBACK = /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])([:/?]|$)/;
const PRIVATE_SCHEME = /^(?!https?:)[a-z][a-z0-9+.-]*:/i;

/**
 * Native for a public client all of whose codes go to the device itself (RFC 8252), unless it says otherwise or is one
 * of pages: those have origins.
 */
export function inferredApplicationType(
  flags: Pick<ClientFlags, 'origin'>,
  metadata: Readonly<Record<string, unknown>>,
): { application_type?: 'native' } {
  const uris = metadata.redirect_uris;
  if (metadata.token_endpoint_auth_method !== 'none' || flags.origin || !Array.isArray(uris) || uris.length === 0)
    return {};
  const isOnDevice = (uri: unknown) => typeof uri === 'string' && (LOOPBACK.test(uri) || PRIVATE_SCHEME.test(uri));
  return uris.every(isOnDevice) ? { application_type: 'native' } : {};
}
