import type { z } from 'zod';
import { RESPONSE_TYPES, toResponseType } from '../config/index.ts';
import { checkRoles } from '../roles.ts';
import { hasCertificate, SUBJECT_MEMBERS } from './certificate-subject.ts';
import {
  authenticates,
  type ClientDraft,
  type ClientPatch,
  type ClientRefusal,
  type NewClient,
  usesSecret,
} from './client.ts';
import {
  type ClientMetadata,
  clientMetadataSchema,
  type GivenMetadata,
  TOKEN_EXCHANGE,
} from './client-metadata-schema.ts';
import { givenSecretFault } from './client-secret.ts';
import { isOnDevice, originFault } from './client-uris.ts';
import { profileFault, withProfile } from './profiles.ts';
import { scopesIn } from './scopes.ts';

export const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
export const CIBA_GRANT = 'urn:openid:params:grant-type:ciba';
/** Grants in which a person takes part: only they lead to a refresh token. */
const GRANTS_WITH_A_PERSON = ['authorization_code', DEVICE_GRANT, CIBA_GRANT];

/** OpenID Connect Dynamic Client Registration 1.0, section 2: which grant each word of a response type belongs to. */
const GRANTS_OF_RESPONSES: readonly (readonly [grant: string, words: readonly string[]])[] = [
  ['authorization_code', ['code']],
  ['implicit', ['id_token', 'token']],
];

type Fault = { field: keyof ClientMetadata; reason: string };
type Rule = (metadata: ClientMetadata) => Fault | undefined;

/** Reads as the checklist that it is; the order is the order in which a person would mend things. */
const rules: readonly Rule[] = [
  function grantsAreNotObsolete({ grant_types }) {
    return grant_types.includes('password')
      ? { field: 'grant_types', reason: 'password is not offered (RFC 9700, section 2.4): use authorization_code' }
      : undefined;
  },
  function responseTypesExist({ response_types }) {
    const other = response_types.find((type) => toResponseType(type) === undefined);
    return other === undefined
      ? undefined
      : { field: 'response_types', reason: `${other} is none of ${RESPONSE_TYPES.join(', ')}` };
  },
  function profilesAreMet(metadata) {
    return profileFault(metadata);
  },
  function responsesHaveTheirGrant({ response_types, grant_types }) {
    for (const [grant, words] of GRANTS_OF_RESPONSES) {
      const type = response_types.find((each) => each.split(' ').some((word) => words.includes(word)));
      if ((type !== undefined) === grant_types.includes(grant)) continue;
      return type === undefined
        ? { field: 'grant_types', reason: `${grant} wants ${words.join(' or ')} among response_types` }
        : { field: 'response_types', reason: `${type} wants ${grant} among grant_types` };
    }
    return undefined;
  },
  function responsesHaveSomewhereToGo({ response_types, redirect_uris }) {
    return response_types.length > 0 && (redirect_uris ?? []).length === 0
      ? { field: 'redirect_uris', reason: `${response_types[0]} wants at least one redirect URI` }
      : undefined;
  },
  function privateSchemesAreNative({ redirect_uris, application_type }) {
    const own = (redirect_uris ?? []).find((uri) => !/^https?:/.test(uri));
    return own === undefined || application_type === 'native'
      ? undefined
      : { field: 'redirect_uris', reason: `${own} has a private scheme: that wants application_type native` };
  },
  function refreshTokensFollowAPerson({ grant_types }) {
    return grant_types.includes('refresh_token') && !grant_types.some((grant) => GRANTS_WITH_A_PERSON.includes(grant))
      ? { field: 'grant_types', reason: 'refresh_token wants authorization_code beside it (RFC 6749, section 4.4.3)' }
      : undefined;
  },
  function clientCredentialsAreCredentials({ grant_types, token_endpoint_auth_method }) {
    return grant_types.includes('client_credentials') && token_endpoint_auth_method === 'none'
      ? {
          field: 'token_endpoint_auth_method',
          reason: 'client_credentials wants a client that authenticates (RFC 6749, section 4.4): none does not',
        }
      : undefined;
  },
  function exchangesAreAuthenticated({ grant_types, token_endpoint_auth_method }) {
    return grant_types.includes(TOKEN_EXCHANGE) && token_endpoint_auth_method === 'none'
      ? {
          field: 'token_endpoint_auth_method',
          reason: 'token exchange wants a client that authenticates (RFC 8693, section 2.1): none does not',
        }
      : undefined;
  },
  function pairwiseClientsExchangeNothing({ subject_type, grant_types }) {
    return subject_type === 'pairwise' && grant_types.includes(TOKEN_EXCHANGE)
      ? { field: 'subject_type', reason: 'pairwise excludes token exchange, whose tokens name the account' }
      : undefined;
  },
  function exchangeModesHaveTheirGrant({ grant_types, token_exchange_modes }) {
    return token_exchange_modes !== undefined && !grant_types.includes(TOKEN_EXCHANGE)
      ? { field: 'token_exchange_modes', reason: `wants ${TOKEN_EXCHANGE} among grant_types` }
      : undefined;
  },
  function publicClientsUsePkce({ token_endpoint_auth_method, require_pkce }) {
    return token_endpoint_auth_method === 'none' && require_pkce === false
      ? { field: 'require_pkce', reason: 'a client that does not authenticate needs PKCE (RFC 9700, section 2.1.1)' }
      : undefined;
  },
  function keysAreGivenOnce({ jwks, jwks_uri }) {
    return jwks !== undefined && jwks_uri !== undefined
      ? { field: 'jwks', reason: 'jwks and jwks_uri exclude each other (RFC 7591, section 2)' }
      : undefined;
  },
  function certificatesNameOne(metadata) {
    const named = SUBJECT_MEMBERS.filter((member) => metadata[member] !== undefined);
    if (metadata.token_endpoint_auth_method === 'tls_client_auth') {
      return named.length === 1
        ? undefined
        : {
            field: 'token_endpoint_auth_method',
            reason: `tls_client_auth wants exactly one of ${SUBJECT_MEMBERS.join(', ')} (RFC 8705, section 2.1.2)`,
          };
    }
    const [field] = named;
    return field && { field, reason: 'has a meaning with token_endpoint_auth_method tls_client_auth alone' };
  },
  function selfSignedCertificatesAreRegistered({ token_endpoint_auth_method, jwks, jwks_uri }) {
    if (token_endpoint_auth_method !== 'self_signed_tls_client_auth' || jwks_uri !== undefined) return undefined;
    return jwks?.keys.some(hasCertificate)
      ? undefined
      : {
          field: 'jwks',
          reason: 'wants a key with its certificate as x5c, or jwks_uri in its place (RFC 8705, section 2.2)',
        };
  },
  function assertionsHaveAKey({ token_endpoint_auth_method, jwks, jwks_uri }) {
    return token_endpoint_auth_method === 'private_key_jwt' && jwks === undefined && jwks_uri === undefined
      ? { field: 'token_endpoint_auth_method', reason: 'private_key_jwt wants jwks or jwks_uri' }
      : undefined;
  },
];

export type CheckedClient = { ok: true; draft: ClientDraft } | ClientRefusal;

/** Everything about a new client that can be said without asking anybody: syntax, defaults, consistency, its secret. */
export function checkNewClient(input: NewClient): CheckedClient {
  const checked = checkDraft(
    {
      metadata: input.metadata,
      apis: input.apis ?? [],
      apiScopes: input.apiScopes ?? {},
      roles: input.roles ?? [],
      mayIntrospectAny: input.mayIntrospectAny ?? false,
      allowedOrigins: input.allowedOrigins ?? [],
      isDemo: input.isDemo ?? false,
    },
    { isNew: true, bringsSecret: input.secret !== undefined },
  );
  if (!checked.ok || input.secret === undefined) return checked;
  const { token_endpoint_auth_method: method } = checked.draft.metadata;
  const fault = usesSecret(checked.draft.metadata) ? givenSecretFault(input.secret) : `is not used by ${method}`;
  return fault === undefined ? checked : invalid('secret', fault);
}

/** The same for a client that is changed. */
export function checkChangedClient(current: ClientDraft, patch: ClientPatch): CheckedClient {
  const { client_id } = current.metadata;
  if ((patch.metadata?.client_id ?? client_id) !== client_id) {
    return invalid('client_id', 'can not be changed: create another client');
  }
  // The response types follow from the grants, unless somebody insists.
  const derived = patch.metadata?.grant_types === undefined ? {} : { response_types: undefined };
  const merged = Object.entries({ ...current.metadata, ...derived, ...definedIn(patch.metadata), client_id });
  return checkDraft(
    {
      metadata: Object.fromEntries(merged.filter(([, value]) => value !== null && value !== undefined)),
      apis: patch.apis ?? current.apis,
      apiScopes: patch.apiScopes ?? (patch.apis === undefined ? current.apiScopes : {}),
      roles: patch.roles ?? current.roles,
      mayIntrospectAny: patch.mayIntrospectAny ?? current.mayIntrospectAny,
      allowedOrigins: patch.allowedOrigins ?? current.allowedOrigins,
      isDemo: current.isDemo,
    },
    { isNew: false, bringsSecret: false },
  );
}

/** `reason` names the member in its first word, so that it can be shown alone. */
export function invalid(field: string, reason: string): ClientRefusal {
  return { ok: false, code: 'invalid_metadata', field, reason: `${field}: ${reason}` };
}

function definedIn(patch: object = {}): object {
  return Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined));
}

function checkDraft(
  given: Omit<ClientDraft, 'metadata'> & { metadata: unknown },
  circumstances: { isNew: boolean; bringsSecret: boolean },
): CheckedClient {
  for (const origin of given.allowedOrigins) {
    const fault = originFault(origin);
    if (fault !== undefined) return invalid('allowed_origins', `${origin} ${fault}`);
  }
  const parsed = clientMetadataSchema.safeParse(given.metadata);
  if (!parsed.success) return refusalOf(parsed.error);
  const metadata = withDefaults(parsed.data, { ...circumstances, hasOrigins: given.allowedOrigins.length > 0 });
  for (const rule of rules) {
    const fault = rule(metadata);
    if (fault !== undefined) return invalid(fault.field, fault.reason);
  }
  if (given.mayIntrospectAny && !authenticates(metadata)) {
    return invalid('introspect_any', 'wants a client that authenticates (RFC 7662, section 2.1): none does not');
  }
  const checkedRoles = checkRoles(given.roles);
  if (!checkedRoles.ok) return invalid('roles', checkedRoles.reason);
  const fault = apiScopesFault(given, metadata);
  if (fault !== undefined) return invalid('api_scopes', fault);
  const unique = (values: readonly string[]) => [...new Set(values)];
  return {
    ok: true,
    draft: {
      ...given,
      metadata,
      apis: unique(given.apis),
      apiScopes: Object.fromEntries(Object.entries(given.apiScopes).map(([api, scopes]) => [api, unique(scopes)])),
      roles: checkedRoles.roles,
      allowedOrigins: unique(given.allowedOrigins),
    },
  };
}

/** Scopes at one API narrow what the client may ask for at all: they can't widen it. */
function apiScopesFault({ apis, apiScopes }: Pick<ClientDraft, 'apis' | 'apiScopes'>, metadata: ClientMetadata) {
  const registered = scopesIn(metadata.scope);
  for (const [api, scopes] of Object.entries(apiScopes)) {
    if (!apis.includes(api)) return `${api} is not among its APIs`;
    if (scopes.length === 0) return `${api} wants at least one scope: leave the API out where it has none there`;
    const other = scopes.find((scope) => !registered.includes(scope));
    if (other !== undefined) return `${other} is not among its scopes`;
  }
  return undefined;
}

/**
 * RFC 7591, section 2, with three differences: there are response types only where there are codes; what runs on somebody
 * else's device (a native app, pages that call from their own origin) is a public client, because it can keep no secret
 * (RFC 8252, section 8.5); and a new public client all of whose codes go to the device itself is a native app, unless it
 * has pages: those have origins.
 */
function withDefaults(
  given: GivenMetadata,
  hints: { isNew: boolean; bringsSecret: boolean; hasOrigins: boolean },
): ClientMetadata {
  const grantTypes = [...new Set(given.grant_types ?? ['authorization_code'])];
  const runsElsewhere = given.application_type === 'native' || hints.hasOrigins;
  const isService = grantTypes.includes('client_credentials') || grantTypes.includes(TOKEN_EXCHANGE);
  const isPublic = runsElsewhere && !hints.bringsSecret && !isService;
  const redirectUris = given.redirect_uris ?? [];
  const isNative =
    hints.isNew &&
    !hints.hasOrigins &&
    given.token_endpoint_auth_method === 'none' &&
    redirectUris.length > 0 &&
    redirectUris.every(isOnDevice);
  return withProfile({
    ...(isNative ? { application_type: 'native' } : undefined),
    ...given,
    grant_types: grantTypes,
    response_types: [...new Set(given.response_types ?? (grantTypes.includes('authorization_code') ? ['code'] : []))],
    token_endpoint_auth_method: given.token_endpoint_auth_method ?? (isPublic ? 'none' : 'client_secret_basic'),
  });
}

function refusalOf(error: z.ZodError): ClientRefusal {
  const [issue] = error.issues;
  if (issue?.code !== 'unrecognized_keys' || issue.path.length > 0) {
    return invalid(String(issue?.path[0] ?? 'metadata'), issue?.message ?? 'wants an object');
  }
  const [member = ''] = issue.keys;
  return invalid(
    member,
    member === 'client_secret'
      ? 'does not belong to the metadata: secrets are generated, or given apart'
      : 'is not a member that can be registered',
  );
}
