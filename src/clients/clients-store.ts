import type { Knex } from 'knex';
import { takeAdvisoryLock } from '../database/index.ts';
import type { ClientDraft, RegisteredClient } from './client.ts';
import type { ClientMetadata } from './client-metadata-schema.ts';

/** A client with what never leaves this room: the digests of its live secrets, newest first, and its revision. */
export type StoredClient = Readonly<{
  client: RegisteredClient;
  secretDigests: readonly Buffer[];
  revision: number;
}>;

type ClientRow = {
  id: string;
  metadata: ClientMetadata;
  may_introspect_any: boolean;
  allowed_origins: string[];
  roles: string[];
  is_demo: boolean;
  origin: 'operator' | 'dynamic';
  registration_policies: string[];
  used_at: Date | null;
  revision: number;
  created_at: Date;
  updated_at: Date;
  apis: string[];
  api_scopes: Record<string, string[]> | null;
  secret_digests: Buffer[];
};

/** The client with what belongs to it, as it is at this moment. */
export async function findClient(db: Knex, id: string): Promise<StoredClient | undefined> {
  const row = await selectClients(db).where('clients.id', id).first();
  return row && toStoredClient(row);
}

/** In the order of their ids. */
export async function listClients(
  db: Knex,
  page: { limit?: number | undefined; after?: string | undefined },
): Promise<StoredClient[]> {
  const query = selectClients(db).orderByRaw('clients.id collate "C"');
  if (page.limit !== undefined) query.limit(page.limit);
  if (page.after !== undefined) query.whereRaw('clients.id collate "C" > ?', [page.after]);
  return (await query).map(toStoredClient);
}

/** @param registrationPolicies of one that registers itself. @returns whether the id was free */
export async function insertClient(
  trx: Knex,
  draft: ClientDraft,
  at: Date,
  registrationPolicies?: readonly string[],
): Promise<boolean> {
  const id = draft.metadata.client_id;
  const inserted = await trx('clients')
    .insert({
      id,
      is_demo: draft.isDemo,
      created_at: at,
      ...(registrationPolicies && { origin: 'dynamic', registration_policies: [...registrationPolicies] }),
      ...changingColumns(draft, at),
    })
    .onConflict('id')
    .ignore()
    .returning('id');
  if (inserted.length === 0) return false;
  await setApis(trx, draft);
  return true;
}

/** Writes over the state of that revision alone. @returns false when the client was changed or deleted since */
export async function replaceClient(
  trx: Knex,
  draft: ClientDraft,
  over: { revision: number; at: Date },
): Promise<boolean> {
  const updated = await trx('clients')
    .where({ id: draft.metadata.client_id, revision: over.revision })
    .update({ ...changingColumns(draft, over.at), revision: over.revision + 1 });
  if (updated === 0) return false;
  await setApis(trx, draft);
  return true;
}

/** Locks the client's row to the end of the transaction. @returns false when there is none */
export async function touchClient(trx: Knex, id: string, at: Date): Promise<boolean> {
  return (await trx('clients').where({ id }).update({ updated_at: at })) > 0;
}

/** Takes its secrets and what it is registered for along. @returns false when there is none */
export async function removeClient(trx: Knex, id: string): Promise<boolean> {
  return (await trx('clients').where({ id }).delete()) > 0;
}

/** How many have registered themselves. Whoever adds one waits until the transaction ends, so that none is overlooked. */
export async function countSelfRegistered(trx: Knex): Promise<number> {
  await takeAdvisoryLock(trx, 'selfRegistrations');
  const [row] = await trx('clients').where({ origin: 'dynamic' }).count<{ count: string }[]>({ count: '*' });
  return Number(row?.count ?? 0);
}

/** @returns the ids of those that registered themselves before that moment and were never used, the oldest first */
export async function unusedClientIds(db: Knex, before: Date, limit: number): Promise<string[]> {
  const rows = await db<ClientRow>('clients')
    .where({ origin: 'dynamic', used_at: null })
    .where('created_at', '<', before)
    .orderBy('created_at')
    .limit(limit)
    .select('id');
  return rows.map((row) => row.id);
}

/** Keeps one that registered itself and was never used from being used until the transaction ends. @returns false when there is none */
export async function holdUnused(trx: Knex, id: string): Promise<boolean> {
  const held = await trx('clients').where({ id, origin: 'dynamic', used_at: null }).forUpdate().select('id');
  return held.length > 0;
}

/** @returns whether it was the first use */
export async function markUsed(trx: Knex, id: string, at: Date): Promise<boolean> {
  return (await trx('clients').where({ id, origin: 'dynamic', used_at: null }).update({ used_at: at })) > 0;
}

/** The current secret becomes the previous one, and the previous one is gone. The client's row must be locked. */
export async function pushSecretDigest(trx: Knex, clientId: string, digest: Buffer, at: Date): Promise<void> {
  await trx('client_secrets').where({ client_id: clientId, is_current: false }).delete();
  await trx('client_secrets').where({ client_id: clientId }).update({ is_current: false });
  await trx('client_secrets').insert({ client_id: clientId, is_current: true, digest, created_at: at });
}

/** Ends every secret of the client, whose row must be locked. */
export async function removeSecretDigests(trx: Knex, clientId: string): Promise<void> {
  await trx('client_secrets').where({ client_id: clientId }).delete();
}

/** @returns those of the ids that no client has, in their order */
export async function unknownClientIds(db: Knex, ids: readonly string[]): Promise<string[]> {
  const rows = await db<ClientRow>('clients').whereIn('id', ids).select('id');
  const known = new Set(rows.map((row) => row.id));
  return ids.filter((id) => !known.has(id));
}

/** @returns those of the ids whose client does not authenticate */
export async function publicClientIds(db: Knex, ids: readonly string[]): Promise<string[]> {
  const rows = await db<ClientRow>('clients')
    .whereIn('id', ids)
    .whereRaw(`metadata->>'token_endpoint_auth_method' = 'none'`)
    .select('id');
  return rows.map((row) => row.id);
}

/** @returns the ids of the clients that are registered for that API */
export async function clientsNamingApi(db: Knex, identifier: string): Promise<string[]> {
  const rows = await db('client_apis')
    .where({ api_identifier: identifier })
    .orderByRaw('client_id collate "C"')
    .select('client_id');
  return rows.map((row: { client_id: string }) => row.client_id);
}

/** @returns the ids of the clients that have registered at least one of the scopes, but for those that registered themselves */
export async function clientsWithAnyScope(db: Knex, scopes: readonly string[]): Promise<string[]> {
  const rows = await db<ClientRow>('clients')
    .where({ origin: 'operator' })
    .whereRaw(`string_to_array(metadata->>'scope', ' ') && ?::text[]`, [[...scopes]])
    .orderByRaw('id collate "C"')
    .select('id');
  return rows.map((row) => row.id);
}

/** The same for types of authorization details. */
export async function clientsWithAnyDetailsType(db: Knex, types: readonly string[]): Promise<string[]> {
  const rows = await db<ClientRow>('clients')
    .where({ origin: 'operator' })
    .whereRaw(`metadata->'authorization_details_types' \\?| ?::text[]`, [[...types]])
    .orderByRaw('id collate "C"')
    .select('id');
  return rows.map((row) => row.id);
}

function selectClients(db: Knex): Knex.QueryBuilder<ClientRow, ClientRow[]> {
  return db<ClientRow>('clients').select(
    'clients.*',
    db.raw(`array(select api_identifier from client_apis
      where client_id = clients.id order by api_identifier collate "C") as apis`),
    db.raw(`(select jsonb_object_agg(api_identifier, scopes) from client_apis
      where client_id = clients.id and scopes is not null) as api_scopes`),
    db.raw(`array(select digest from client_secrets
      where client_id = clients.id order by is_current desc) as secret_digests`),
  );
}

function changingColumns(draft: ClientDraft, at: Date): Record<string, unknown> {
  return {
    metadata: JSON.stringify(draft.metadata),
    may_introspect_any: draft.mayIntrospectAny,
    allowed_origins: draft.allowedOrigins,
    roles: draft.roles,
    updated_at: at,
  };
}

async function setApis(trx: Knex, draft: ClientDraft): Promise<void> {
  const clientId = draft.metadata.client_id;
  await trx('client_apis').where({ client_id: clientId }).delete();
  if (draft.apis.length === 0) return;
  await trx('client_apis').insert(
    draft.apis.map((api) => ({ client_id: clientId, api_identifier: api, scopes: draft.apiScopes[api] ?? null })),
  );
}

function toStoredClient(row: ClientRow): StoredClient {
  const client: RegisteredClient = {
    id: row.id,
    metadata: row.metadata,
    apis: row.apis,
    apiScopes: row.api_scopes ?? {},
    roles: row.roles,
    mayIntrospectAny: row.may_introspect_any,
    allowedOrigins: row.allowed_origins,
    isDemo: row.is_demo,
    origin: row.origin,
    ...(row.origin === 'dynamic' && {
      registration: { policies: row.registration_policies, isUsed: row.used_at !== null },
    }),
    hasSecret: row.secret_digests.length > 0,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
  return Object.freeze({ client: deepFreeze(client), secretDigests: row.secret_digests, revision: row.revision });
}

/** A cached client is handed to many: one who changed it would change it for all. */
function deepFreeze<T extends object>(value: T): T {
  for (const member of Object.values(value)) if (typeof member === 'object' && member !== null) deepFreeze(member);
  return Object.freeze(value);
}
