import type { Profile } from '../config/index.ts';
import type { Api } from './api.ts';
import { checkNewClient, invalid } from './check-client.ts';
import type { ClientPatch, ClientRefusal, NewClient } from './client.ts';
import { grantableScopes, MAX_NAME_LENGTH } from './client-document.ts';
import {
  type ClientMetadata,
  clientMetadataSchema,
  type GivenMetadata,
  TOKEN_EXCHANGE,
} from './client-metadata-schema.ts';
import { detailsTypeOf } from './details-type.ts';
import { DEFAULT_PROFILE } from './profiles.ts';
import { policyForGrant, policyOf, type RegistrationPolicy } from './registration-policies.ts';
import { isOpenIdScope, scopesIn } from './scopes.ts';

/** What a client says of itself at the registration endpoint. */
export type SelfRegistration = Readonly<{
  id: string;
  /** As it came; what is not known is passed over (RFC 7591, section 2). */
  given: Readonly<Record<string, unknown>>;
  /** Who vouches for some of it, and what these claims are: they take precedence (RFC 7591, section 2.3). */
  statement?: Readonly<{ value: string; claims: Readonly<Record<string, unknown>> }> | undefined;
  /** The names of what an operator allows it. */
  policies: readonly string[];
  apis: readonly Api[];
  /** What the whole server is held to. */
  profile: Profile;
}>;

type Prepared = Readonly<{
  ok: true;
  metadata: ClientMetadata;
  /** Beside the metadata, what the registry wants for a new client. */
  apis: readonly string[];
  allowedOrigins: readonly string[];
}>;

/** Decided here and not by who registers: exceptions from what the server asks of everyone, and what only the server sets. */
const WITHHELD: ReadonlySet<string> = new Set([
  'client_id',
  'profile',
  'require_pkce',
  'software_statement',
  'token_exchange_modes',
]);
const MEMBERS = Object.keys(clientMetadataSchema.shape) as (keyof GivenMetadata)[];
/** Shown to people. */
const LINKS = ['client_uri', 'logo_uri', 'policy_uri', 'tos_uri'] as const;

const GRANT_OF_WORD: Readonly<Record<string, string>> = {
  code: 'authorization_code',
  id_token: 'implicit',
  token: 'implicit',
};

/**
 * Makes client metadata of what somebody says of their own client, whom nobody here knows: what is not theirs to decide is
 * left out where the client can do without it, and refused where it can't.
 */
export function prepareSelfRegistration(registration: SelfRegistration): Prepared | ClientRefusal {
  const policy = policyOf(registration.policies);
  const said = { ...present(registration.given), ...present(registration.statement?.claims ?? {}) };
  const metadata: Record<string, unknown> = {
    ...Object.fromEntries(
      MEMBERS.filter((name) => name in said && !WITHHELD.has(name)).map((name) => [name, said[name]]),
    ),
    ...impliedGrants(said),
    ...ownMembers(said, policy, registration.profile),
    client_id: registration.id,
    ...(registration.statement && { software_statement: registration.statement.value }),
  };
  if (typeof metadata.client_name === 'string' && metadata.client_name.length > MAX_NAME_LENGTH) {
    return invalid('client_name', `wants at most ${MAX_NAME_LENGTH} characters`);
  }
  if (!policy.allowsAnyLinks) dropForeignLinks(metadata);
  const checked = checkNewClient({ metadata: metadata as GivenMetadata });
  if (!checked.ok) return checked;
  const grant = checked.draft.metadata.grant_types.find((each) => !policy.grants.includes(each));
  if (grant !== undefined) return invalid('grant_types', grantReason(grant));
  const scoped = withScope(checked.draft.metadata, policy, registration.apis);
  if (!scoped.ok) return scoped;
  return { ok: true, metadata: scoped.metadata, apis: policy.apis, allowedOrigins: originsOf(scoped.metadata) };
}

/** For a client that is new. @param atMost how many there may be that registered themselves */
export function toNewClient(
  { metadata, apis, allowedOrigins }: Prepared,
  selfRegistered: NonNullable<NewClient['selfRegistered']>,
): NewClient {
  return { metadata, apis, allowedOrigins, selfRegistered };
}

/** For one that is there: what is not said any more is gone (RFC 7592, section 2.2). */
export function toReplacement({ metadata, apis, allowedOrigins }: Prepared): ClientPatch {
  const members = MEMBERS.filter((name) => name !== 'client_id').map((name) => [name, metadata[name] ?? null]);
  return { metadata: Object.fromEntries(members), apis, allowedOrigins };
}

/** Null and an empty text stand for what is left out (RFC 7592, section 2.2). */
function present(members: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null && value !== ''));
}

/** The grants of the response types, where these alone are said. */
function impliedGrants({ grant_types, response_types }: Record<string, unknown>): Partial<GivenMetadata> {
  if (grant_types !== undefined || !Array.isArray(response_types)) return {};
  const words = response_types.flatMap((type) => String(type).split(' '));
  return { grant_types: [...new Set(words.flatMap((word) => GRANT_OF_WORD[word] ?? []))] };
}

/** Our own members: a client may ask to be held to more than the server's profile, and never to less. */
function ownMembers(
  said: Record<string, unknown>,
  policy: RegistrationPolicy,
  profile: Profile,
): Record<string, unknown> {
  const isStricter = typeof said.profile === 'string' && said.profile.startsWith('fapi');
  const held = isStricter ? said.profile : profile === DEFAULT_PROFILE ? undefined : profile;
  return {
    ...(held !== undefined && { profile: held }),
    ...(said.require_pkce === true && { require_pkce: true }),
    ...('token_exchange_modes' in said &&
      policy.grants.includes(TOKEN_EXCHANGE) && { token_exchange_modes: said.token_exchange_modes }),
  };
}

/**
 * A logo, a policy or a page that is shown has to be the app's own: on the host of a redirect URI or below it (OpenID Connect
 * Dynamic Client Registration 1.0, section 9.1). Then the browser is sent there anyway, and loading the logo tells nobody else
 * who signs in.
 */
function dropForeignLinks(metadata: Record<string, unknown>): void {
  const redirects = Array.isArray(metadata.redirect_uris) ? metadata.redirect_uris : [];
  const hosts = redirects.flatMap((uri) => {
    const url = URL.parse(String(uri));
    return url?.protocol === 'https:' ? [url.hostname] : [];
  });
  for (const name of LINKS) {
    const url = URL.parse(String(metadata[name]));
    const isOwn =
      url?.protocol === 'https:' && hosts.some((host) => url.hostname === host || url.hostname.endsWith(`.${host}`));
    if (!isOwn) delete metadata[name];
  }
}

function grantReason(grant: string): string {
  const policy = policyForGrant(grant);
  return policy === undefined
    ? `${grant} can not be registered here`
    : `${grant} wants a registration token with the policy ${policy}`;
}

/** Scopes of OpenID, where a person takes part, and those of the APIs that are open to it or that it was allowed. */
function withScope(
  metadata: ClientMetadata,
  policy: RegistrationPolicy,
  all: readonly Api[],
): { ok: true; metadata: ClientMetadata } | ClientRefusal {
  const apis = all.filter((api) => api.isOpenToUnregistered || policy.apis.includes(api.identifier));
  const ofApis = [...new Set(apis.flatMap((api) => api.scopes.map(({ scope }) => scope)))];
  const hasPerson = metadata.grant_types.some((grant) => !SERVICE_GRANTS.has(grant));
  const type = metadata.authorization_details_types?.find(
    (each) => !apis.some((api) => detailsTypeOf(api, each) !== undefined),
  );
  if (type !== undefined) return invalid('authorization_details_types', `${type} belongs to no API that is open to it`);
  const asked = scopesIn(metadata.scope);
  const foreign = asked.find((scope) => !ofApis.includes(scope) && !(hasPerson && isOpenIdScope(scope)));
  if (foreign !== undefined) {
    return invalid('scope', `${foreign} wants a registration token with the policy api:URN of its API`);
  }
  if (asked.length > 0) return { ok: true, metadata };
  if (hasPerson) return { ok: true, metadata: { ...metadata, scope: grantableScopes(undefined, ofApis) } };
  // Without the member, it could have every scope there is.
  if (ofApis.length === 0) return invalid('scope', 'there is none for a service without the policy api:URN of an API');
  return { ok: true, metadata: { ...metadata, scope: ofApis.join(' ') } };
}

const SERVICE_GRANTS: ReadonlySet<string> = new Set(['client_credentials', TOKEN_EXCHANGE]);

/** Pages that call the server from the browser do so from where their codes are sent to. */
function originsOf({ application_type, redirect_uris, token_endpoint_auth_method }: ClientMetadata): string[] {
  if (token_endpoint_auth_method !== 'none' || application_type === 'native') return [];
  const origins = (redirect_uris ?? []).map((uri) => new URL(uri).origin);
  return [...new Set(origins.filter((origin) => origin.startsWith('https:')))];
}
