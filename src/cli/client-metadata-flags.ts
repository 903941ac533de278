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
  role?: string[] | false;
  accessTokenTtl?: number | false;
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
    access_token_ttl_seconds: flags.accessTokenTtl === false ? null : flags.accessTokenTtl,
  };
  const given = Object.entries(byOption).filter(([, value]) => value !== undefined);
  return { ...inFile, ...Object.fromEntries(given) };
}

/** What `--api` names: each time an API, and behind it, where it is not to be all, the scopes that are meant there. */
export function givenApis(flags: Pick<ClientFlags, 'api'>): {
  apis: string[] | undefined;
  apiScopes: Record<string, string[]> | undefined;
} {
  if (flags.api === undefined) return { apis: undefined, apiScopes: undefined };
  const named = flags.api === false ? [] : flags.api.map(words);
  return {
    apis: named.map(([api = '']) => api),
    apiScopes: Object.fromEntries(
      named.filter(([, ...scopes]) => scopes.length > 0).map(([api = '', ...scopes]) => [api, scopes]),
    ),
  };
}
