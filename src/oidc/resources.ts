import { errors, type KoaContextWithOIDC, type ResourceServer } from 'oidc-provider';
import {
  type Api,
  type Apis,
  type Clients,
  isOpenIdScope,
  type RegisteredClient,
  scopesIn,
  TOKEN_EXCHANGE,
} from '../clients/index.ts';
import { failClosed } from './faults.ts';
import { requestedDetails } from './requested-details.ts';

type Registries = { apis: Apis; clients: Pick<Clients, 'find'> };

/**
 * Which API a request is for that names none (RFC 8707, section 2). With people involved: the one API that the client is
 * registered for, else none, and the token is for userinfo alone. For client credentials: the one API that owns every
 * scope asked for.
 *
 * @param granted several resources granted before, of which a token request names none
 */
export async function defaultResource(
  context: KoaContextWithOIDC,
  clientId: string,
  granted: readonly string[] | undefined,
  registries: Registries,
): Promise<string | string[] | undefined> {
  if (granted !== undefined) return granted.length === 1 ? granted[0] : [...granted];
  const client = await failClosed(() => registries.clients.find(clientId));
  if (client === undefined) return undefined;
  const ofDetails = resourcesOfDetails(context, client, registries.apis);
  if (ofDetails !== undefined) return ofDetails;
  if (isOfService(context)) return resourceOfScopes(context, client, registries.apis);
  // A scope-less or userinfo request goes on without an API; an API's scope without its API has nothing to be issued for.
  const [only, ...others] = client.apis;
  // Registered for it, that is: what is open to whoever comes is nobody's default.
  if (only !== undefined && others.length === 0 && client.origin !== 'document') return only;
  const scopes = [...context.oidc.requestParamScopes];
  if (scopes.length > 0 && context.oidc.route === 'authorization' && !scopes.some((scope) => isOpenIdScope(scope))) {
    throw invalidTarget(choicesFor(client, registries.apis, scopes));
  }
  return undefined;
}

/** Types of authorization details name their APIs; what scopes are asked beside them has to be of the same. */
function resourcesOfDetails(
  context: KoaContextWithOIDC,
  client: RegisteredClient,
  apis: Apis,
): string | string[] | undefined {
  const types = requestedDetails(context)?.map(({ type }) => type) ?? [];
  const owners = callableApis(client, apis).filter(({ detailsTypes }) =>
    detailsTypes.some(({ type }) => types.includes(type)),
  );
  if (owners.length === 0) return undefined;
  const here = owners.flatMap((api) => scopesOf(api, client));
  const foreign = [...context.oidc.requestParamScopes].filter(
    (scope) => !isOpenIdScope(scope) && !here.includes(scope),
  );
  if (foreign.length > 0) throw invalidTarget(choicesFor(client, apis, foreign));
  const identifiers = owners.map(({ identifier }) => identifier);
  return identifiers.length === 1 ? identifiers[0] : identifiers;
}

function resourceOfScopes(context: KoaContextWithOIDC, client: RegisteredClient, apis: Apis): string | undefined {
  const callable = callableApis(client, apis);
  const asked = [...context.oidc.requestParamScopes];
  const scopes = asked.length > 0 ? asked : registeredApiScopes(client);
  for (const scope of asked) {
    if (!callable.some((api) => scopesOf(api, client).includes(scope))) {
      throw new errors.InvalidScope('requested scope is not allowed', scope);
    }
  }
  // Nothing asked and nothing registered: a token that says who the client is, and no more.
  if (scopes.length === 0)
    return callable.length === 1 && client.apis.length === 1 ? callable[0]?.identifier : undefined;
  const owners = owningAll(callable, client, scopes);
  if (owners.length !== 1) throw invalidTarget(choicesFor(client, apis, scopes));
  return owners[0]?.identifier;
}

/**
 * What the library needs to know of an API for one client.
 *
 * @throws {errors.InvalidTarget} where there is no such API, or the client may not call it
 * @throws {errors.InvalidScope} where client credentials ask for a scope that the client hasn't got there
 */
export async function resourceServerInfo(
  context: KoaContextWithOIDC,
  identifier: string,
  clientId: string,
  registries: Registries,
): Promise<ResourceServer> {
  const client = await failClosed(() => registries.clients.find(clientId));
  const api = client && callableApis(client, registries.apis).find((candidate) => candidate.identifier === identifier);
  if (client === undefined || api === undefined) throw new errors.InvalidTarget();
  const scopes = scopesOf(api, client);
  const { params, requestParamScopes: asked } = context.oidc;
  if (isOfService(context)) {
    const unknown = [...asked].find((scope) => !scopes.includes(scope));
    if (unknown !== undefined) throw new errors.InvalidScope('requested scope is not allowed', unknown);
    // None asked: all that the client has there (RFC 6749, section 3.3). The library refuses several resources later. An
    // exchange asks for something always, for the client's scopes are not those of the token that it exchanges.
    const isForItself = params?.grant_type === 'client_credentials' && !Array.isArray(params.resource);
    if (isForItself && asked.size === 0 && scopes.length > 0) params.scope = scopes.join(' ');
  }
  return {
    scope: scopes.join(' '),
    audience: api.identifier,
    accessTokenTTL: api.ttlSeconds,
    accessTokenFormat: api.tokenFormat,
    ...(api.tokenFormat === 'jwt' ? { jwt: { sign: { alg: api.signingAlgorithm } } } : undefined),
  };
}

/**
 * The scopes that a client may ask for at one API, or at all that it may call.
 *
 * @throws {errors.InvalidTarget} where there is no such API, or the client may not call it
 */
export function scopesCallable(client: RegisteredClient, apis: Apis, identifier: string | undefined): string[] {
  const callable = callableApis(client, apis).filter(
    (api) => identifier === undefined || api.identifier === identifier,
  );
  if (identifier !== undefined && callable.length === 0) throw new errors.InvalidTarget();
  return callable.flatMap((api) => scopesOf(api, client));
}

/** Whether a service asks by itself, without a person at the browser who would be asked what it may do. */
function isOfService({ oidc: { params } }: KoaContextWithOIDC): boolean {
  return params?.grant_type === 'client_credentials' || params?.grant_type === TOKEN_EXCHANGE;
}

/**
 * The APIs that a client may call: those it is registered for, or any where it is registered for none. One that nobody vouches for:
 * what is open, and what an operator let it register for.
 */
export function callableApis(client: RegisteredClient, apis: Apis): Api[] {
  const isNamed = (api: Api) => client.apis.includes(api.identifier);
  switch (client.origin) {
    case 'document':
      return apis.all().filter((api) => api.isOpenToUnregistered);
    case 'dynamic':
      return apis.all().filter((api) => api.isOpenToUnregistered || isNamed(api));
    default:
      return apis.all().filter((api) => client.apis.length === 0 || isNamed(api));
  }
}

/**
 * The APIs that a client is told to choose from: those that own every scope asked for, else those that own one at least.
 * What else there is here is no business of whoever asks.
 */
function choicesFor(client: RegisteredClient, apis: Apis, scopes: readonly string[]): Api[] {
  const ownersOfSome = callableApis(client, apis).filter((api) =>
    scopesOf(api, client).some((scope) => scopes.includes(scope)),
  );
  const ownersOfAll = owningAll(ownersOfSome, client, scopes);
  return ownersOfAll.length > 0 ? ownersOfAll : ownersOfSome;
}

/** The scopes of an API that a client is registered for: those named for this API, else all of the client's that it owns. */
function scopesOf(api: Api, client: RegisteredClient): string[] {
  const registered = scopesIn(client.metadata.scope);
  const here = client.apiScopes[api.identifier];
  return api.scopes
    .map(({ scope }) => scope)
    .filter((scope) => registered.includes(scope) && (here === undefined || here.includes(scope)));
}

/** The APIs at each of which the client may have every one of the scopes. */
function owningAll(apis: readonly Api[], client: RegisteredClient, scopes: readonly string[]): Api[] {
  return apis.filter((api) => {
    const here = scopesOf(api, client);
    return scopes.every((scope) => here.includes(scope));
  });
}

function registeredApiScopes(client: RegisteredClient): string[] {
  return scopesIn(client.metadata.scope).filter((scope) => !isOpenIdScope(scope));
}

function invalidTarget(choices: readonly Api[]): errors.InvalidTarget {
  const names = choices.map((api) => api.identifier).join(', ');
  return new errors.InvalidTarget(names === '' ? 'no API has these scopes' : `name one resource of: ${names}`);
}
