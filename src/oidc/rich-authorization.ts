import { isDeepStrictEqual } from 'node:util';
import {
  type AuthorizationDetailsForAccessToken,
  type AuthorizationDetailsForIntrospection,
  errors,
  type KoaContextWithOIDC,
  type RichAuthorizationRequestsActiveConfiguration,
} from 'oidc-provider';
import {
  type Apis,
  type AuthorizationDetail,
  detailFault,
  detailsTypeOf,
  MAX_DETAILS,
  MAX_DETAILS_CHARACTERS,
  type RegisteredClient,
} from '../clients/index.ts';
import type { Callers } from './callers.ts';
import { failClosed } from './faults.ts';
import { requestedDetails } from './requested-details.ts';
import { callableApis } from './resources.ts';

type Registries = { apis: Apis; clients: Pick<Callers, 'find'> };
type Grant = NonNullable<KoaContextWithOIDC['oidc']['grant']>;
type Feature = RichAuthorizationRequestsActiveConfiguration & {
  authorizationDetailsForIntrospection: AuthorizationDetailsForIntrospection;
};
type IssuedToken = Parameters<AuthorizationDetailsForAccessToken>[1];
type GrantSource = Parameters<AuthorizationDetailsForAccessToken>[2];

/** A grant lives as long as its session, and every payment adds to it. What is in codes and tokens stays there. */
const MAX_GRANT_CHARACTERS = 8 * MAX_DETAILS_CHARACTERS;

/**
 * Rich authorization requests (RFC 9396): every type belongs to one API, which alone gets what a person, or the
 * registration of a service, allows of it. Off while no API has any: then nothing of it is advertised.
 */
export function richAuthorizationRequests(registries: Registries): Feature {
  const types = registries.apis.all().flatMap(({ detailsTypes }) => detailsTypes.map(({ type }) => type));
  const validate = (context: KoaContextWithOIDC, detail: AuthorizationDetail) =>
    validateDetail(context, detail, registries);
  return {
    enabled: types.length > 0,
    types: Object.fromEntries(types.map((type) => [type, { validate }])),
    authorizationDetailsForGrantSource: (context) => detailsAllowed(context),
    authorizationDetailsForAccessToken: (context, token, source) => detailsOfToken(context, token, source, registries),
    // It has nothing but its own API's, and whoever may not know the token is not answered at all.
    authorizationDetailsForIntrospection: (_context, token) => token.rar,
  };
}

/** Adds what a person has just allowed to a grant, which forgets the oldest when they become too many. */
export function addDetails(grant: Grant, details: readonly AuthorizationDetail[]): void {
  if (details.length === 0) return;
  const all = [...(grant.rar ?? []).filter((known) => !holds(details, known)), ...details];
  while (JSON.stringify(all).length > MAX_GRANT_CHARACTERS) all.shift();
  grant.rar = all;
}

/** Section 5 of the RFC: what is unknown, malformed or not this client's is refused, never dropped. */
async function validateDetail(
  context: KoaContextWithOIDC,
  detail: AuthorizationDetail,
  { apis, clients }: Registries,
): Promise<void> {
  const { params, client } = context.oidc;
  if (String(params?.authorization_details).length > MAX_DETAILS_CHARACTERS) {
    throw invalid(`wants at most ${MAX_DETAILS_CHARACTERS} characters`);
  }
  if ((requestedDetails(context) ?? []).length > MAX_DETAILS) throw invalid(`wants at most ${MAX_DETAILS} entries`);
  const registered = client && (await failClosed(() => clients.find(client.clientId)));
  const api =
    registered &&
    callableApis(registered, apis).find((candidate) => detailsTypeOf(candidate, detail.type) !== undefined);
  const type = api && detailsTypeOf(api, detail.type);
  if (api === undefined || type === undefined || !isRegisteredFor(registered, detail)) {
    throw invalid(`has a type that is not allowed for this client: ${detail.type}`);
  }
  const resources = [params?.resource].flat().filter((resource) => resource !== undefined);
  if (resources.length > 0 && !resources.includes(api.identifier)) {
    throw invalid(`has a type of another resource than the request names: ${detail.type} wants ${api.identifier}`);
  }
  const fault = detailFault(type, api.identifier, detail);
  if (fault !== undefined) throw invalid(`with type ${detail.type} ${fault}`);
}

/** Of what this very request asks for, all, where the person allowed all of it. @throws {errors.AccessDenied} where not */
function detailsAllowed(context: KoaContextWithOIDC): AuthorizationDetail[] | undefined {
  const asked = requestedDetails(context);
  const granted = context.oidc.grant?.rar ?? [];
  if (asked?.every((detail) => holds(granted, detail)) === false) {
    throw new errors.AccessDenied(undefined, 'authorization_details were not granted');
  }
  return asked;
}

/**
 * What a token says: of what is held, all that is its API's, or what the request names of it (section 6: a token request
 * may ask for less, never for more or other). What the client may no longer ask for is gone.
 */
async function detailsOfToken(
  context: KoaContextWithOIDC,
  token: IssuedToken,
  source: GrantSource,
  { apis, clients }: Registries,
): Promise<AuthorizationDetail[] | undefined> {
  const asked = requestedDetails(context);
  const audience = token.resourceServer?.audience;
  const api = apis.all().find(({ identifier }) => identifier === audience);
  const client =
    token.clientId === undefined ? undefined : await failClosed(() => clients.find(String(token.clientId)));
  const granted = source === undefined ? asked : source.rar;
  const held = (granted ?? []).filter(
    (detail) => api !== undefined && detailsTypeOf(api, detail.type) !== undefined && isRegisteredFor(client, detail),
  );
  if (asked?.every((detail) => holds(held, detail)) === false)
    throw invalid('has more than was granted for this resource');
  return asked ?? held;
}

function isRegisteredFor(client: RegisteredClient | undefined, { type }: AuthorizationDetail): boolean {
  return client?.metadata.authorization_details_types?.includes(type) ?? false;
}

function holds(details: readonly AuthorizationDetail[], detail: AuthorizationDetail): boolean {
  return details.some((known) => isDeepStrictEqual(known, detail));
}

function invalid(reason: string): errors.InvalidAuthorizationDetails {
  return new errors.InvalidAuthorizationDetails(`authorization_details ${reason}`);
}
