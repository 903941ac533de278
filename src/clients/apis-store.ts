import type { Knex } from 'knex';
import type { Api, ApiDraft, ApiScope } from './api.ts';
import type { DetailsType } from './details-schema.ts';

type ApiRow = {
  identifier: string;
  name: string;
  scopes: ApiScope[];
  token_format: Api['tokenFormat'];
  signing_algorithm: Api['signingAlgorithm'];
  ttl_seconds: number;
  is_open_to_unregistered: boolean;
  details_types: DetailsType[];
  is_demo: boolean;
  created_at: Date;
  updated_at: Date;
  introspection_client_ids: string[];
};

/** Any number that no other room takes ("clie"). */
const REGISTRY_LOCK = 0x63_6c_69_65;

/**
 * Held to the end of the transaction. Clients are changed side by side under a shared lock; what they refer to (APIs and
 * their scopes) changes under an exclusive one, so that nothing is taken away while somebody begins to use it.
 */
export async function lockRegistry(trx: Knex, mode: 'shared' | 'exclusive'): Promise<void> {
  const lock = mode === 'shared' ? 'pg_advisory_xact_lock_shared' : 'pg_advisory_xact_lock';
  await trx.raw(`select ${lock}(?)`, [REGISTRY_LOCK]);
}

/** The API as it is at this moment. */
export async function findApi(db: Knex, identifier: string): Promise<Api | undefined> {
  const row = await selectApis(db).where('apis.identifier', identifier).first();
  return row && toApi(row);
}

/** All of them, in the order of their identifiers. */
export async function listApis(db: Knex): Promise<Api[]> {
  const rows = await selectApis(db).orderByRaw('apis.identifier collate "C"');
  return rows.map(toApi);
}

/** @returns whether the identifier was free */
export async function insertApi(trx: Knex, draft: ApiDraft, at: Date): Promise<boolean> {
  const inserted = await trx('apis')
    .insert({ identifier: draft.identifier, is_demo: draft.isDemo, created_at: at, ...changingColumns(draft, at) })
    .onConflict('identifier')
    .ignore()
    .returning('identifier');
  if (inserted.length === 0) return false;
  await setIntrospectionClients(trx, draft);
  return true;
}

/** Writes over the whole API. The registry must be locked, so that nobody changes it in between. */
export async function replaceApi(trx: Knex, draft: ApiDraft, at: Date): Promise<void> {
  await trx('apis').where({ identifier: draft.identifier }).update(changingColumns(draft, at));
  await setIntrospectionClients(trx, draft);
}

/** Takes its list of introspecting clients along. The registry must be locked, and no client name the API. */
export async function removeApi(trx: Knex, identifier: string): Promise<void> {
  await trx('apis').where({ identifier }).delete();
}

/** Takes the client's right to introspect away. @returns the identifiers of the APIs that had named it */
export async function removeIntrospectionClient(trx: Knex, clientId: string): Promise<string[]> {
  const rows = await trx('api_introspection_clients')
    .where({ client_id: clientId })
    .delete()
    .returning('api_identifier');
  return rows.map((row: { api_identifier: string }) => row.api_identifier).sort();
}

function selectApis(db: Knex): Knex.QueryBuilder<ApiRow, ApiRow[]> {
  return db<ApiRow>('apis').select(
    'apis.*',
    db.raw(`array(select client_id from api_introspection_clients
      where api_identifier = apis.identifier order by client_id collate "C") as introspection_client_ids`),
  );
}

function changingColumns(draft: ApiDraft, at: Date): Record<string, unknown> {
  return {
    name: draft.name,
    scopes: JSON.stringify(draft.scopes),
    token_format: draft.tokenFormat,
    signing_algorithm: draft.signingAlgorithm,
    ttl_seconds: draft.ttlSeconds,
    is_open_to_unregistered: draft.isOpenToUnregistered,
    details_types: JSON.stringify(draft.detailsTypes),
    updated_at: at,
  };
}

async function setIntrospectionClients(trx: Knex, draft: ApiDraft): Promise<void> {
  await trx('api_introspection_clients').where({ api_identifier: draft.identifier }).delete();
  if (draft.introspectionClientIds.length === 0) return;
  await trx('api_introspection_clients').insert(
    draft.introspectionClientIds.map((clientId) => ({ api_identifier: draft.identifier, client_id: clientId })),
  );
}

function toApi(row: ApiRow): Api {
  return Object.freeze({
    identifier: row.identifier,
    name: row.name,
    scopes: Object.freeze(row.scopes.map((scope) => Object.freeze(scope))),
    tokenFormat: row.token_format,
    signingAlgorithm: row.signing_algorithm,
    ttlSeconds: row.ttl_seconds,
    introspectionClientIds: Object.freeze(row.introspection_client_ids),
    isOpenToUnregistered: row.is_open_to_unregistered,
    detailsTypes: Object.freeze(row.details_types.map((type) => Object.freeze(type))),
    isDemo: row.is_demo,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  });
}
