import type { Knex } from 'knex';
import { listApis } from './apis-store.ts';
import { invalid } from './check-client.ts';
import { authenticates, type ClientDraft, type ClientRefusal } from './client.ts';
import { detailsTypeOf } from './details-type.ts';
import { isOpenIdScope, scopesIn } from './scopes.ts';

/** What can be said only by looking at the APIs: asked once early, for a good answer, and once under the lock. */
export async function registryRefusal(db: Knex, draft: ClientDraft): Promise<ClientRefusal | undefined> {
  const apis = await listApis(db);
  const unknownApi = draft.apis.find((identifier) => !apis.some((api) => api.identifier === identifier));
  if (unknownApi !== undefined) return invalid('apis', `no API ${unknownApi} is registered`);
  for (const [identifier, scopes] of Object.entries(draft.apiScopes)) {
    const owned = apis.find((api) => api.identifier === identifier)?.scopes.map(({ scope }) => scope) ?? [];
    const foreign = scopes.find((scope) => !owned.includes(scope));
    if (foreign !== undefined) return invalid('api_scopes', `${identifier} has no scope ${foreign}`);
  }
  for (const type of draft.metadata.authorization_details_types ?? []) {
    const owner = apis.find((api) => detailsTypeOf(api, type) !== undefined);
    if (owner === undefined) return invalid('authorization_details_types', `no API has the type ${type}`);
    if (draft.apis.length > 0 && !draft.apis.includes(owner.identifier)) {
      return invalid('authorization_details_types', `${type} belongs to ${owner.identifier}, not among its APIs`);
    }
  }
  const naming = apis.find((api) => api.introspectionClientIds.includes(draft.metadata.client_id));
  if (naming !== undefined && !authenticates(draft.metadata)) {
    const reason = `none does not authenticate, and ${naming.identifier} names it to introspect: take it away there first`;
    return invalid('token_endpoint_auth_method', reason);
  }
  const owned = new Set(apis.flatMap((api) => api.scopes.map(({ scope }) => scope)));
  const unowned = scopesIn(draft.metadata.scope).find((scope) => !isOpenIdScope(scope) && !owned.has(scope));
  if (unowned === undefined) return undefined;
  return invalid('scope', `${unowned} is neither an OpenID scope nor a scope of a registered API`);
}
