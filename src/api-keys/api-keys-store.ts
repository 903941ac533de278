import type { Knex } from 'knex';
import type { ApiKey, ApiKeyOwner } from './api-key.ts';
import type { ApiKeyPurpose, ApiKeySettings } from './check-api-key.ts';

/** A key with what never leaves this room: the digests of its secrets. */
export type StoredApiKey = Readonly<{
  apiKey: ApiKey;
  digest: Buffer;
  previous: Readonly<{ digest: Buffer; until: Date }> | undefined;
}>;

type ApiKeyRow = {
  id: string;
  name: string;
  account_id: string | null;
  client_id: string | null;
  scopes: string[];
  apis: string[];
  expires_at: Date | null;
  allowed_addresses: string[];
  /** PostgreSQL's bigint comes as text. */
  quota_requests: string | null;
  quota_window_seconds: number | null;
  rate_per_second: number | null;
  is_disabled: boolean;
  revoked_at: Date | null;
  digest: Buffer;
  previous_digest: Buffer | null;
  previous_until: Date | null;
  created_at: Date;
  updated_at: Date;
  last_used_at: Date | null;
  last_used_from: string | null;
};

/** The key as it is at this moment. */
export async function findApiKey(db: Knex, id: string): Promise<StoredApiKey | undefined> {
  const row = await selectApiKeys(db).where('api_keys.id', id).first();
  return row && toStoredApiKey(row);
}

/** The same, and keeps others from changing it until the transaction ends. */
export async function lockApiKey(trx: Knex, id: string): Promise<StoredApiKey | undefined> {
  const row = await selectApiKeys(trx).where('api_keys.id', id).forUpdate('api_keys').first();
  return row && toStoredApiKey(row);
}

/** In the order of their ids. */
export async function listApiKeys(
  db: Knex,
  query: { owner?: ApiKeyOwner | undefined; limit?: number | undefined; after?: string | undefined },
): Promise<ApiKey[]> {
  const select = selectApiKeys(db).orderByRaw('api_keys.id collate "C"');
  if (query.owner !== undefined) select.where(ownerColumns(query.owner));
  if (query.limit !== undefined) select.limit(query.limit);
  if (query.after !== undefined) select.whereRaw('api_keys.id collate "C" > ?', [query.after]);
  return (await select).map((row) => toStoredApiKey(row).apiKey);
}

/** @returns the ids of keys that are for the API and not revoked, in their order */
export async function listIdsNaming(db: Knex, api: string): Promise<string[]> {
  const rows = await db<ApiKeyRow>('api_keys')
    .whereNull('revoked_at')
    .whereRaw('? = any(apis)', [api])
    .orderByRaw('id collate "C"')
    .select('id');
  return rows.map(({ id }) => id);
}

/** @throws a violation at the commit, where the owner has gone; {@link isOwnerGone} knows it */
export async function insertApiKey(
  trx: Knex,
  key: { id: string; settings: ApiKeySettings; purpose: ApiKeyPurpose; digest: Buffer; at: Date },
): Promise<void> {
  const { owner, scopes, apis } = key.purpose;
  await trx('api_keys').insert({
    id: key.id,
    ...ownerColumns(owner),
    scopes,
    apis,
    digest: key.digest,
    created_at: key.at,
    updated_at: key.at,
    ...settingsColumns(key.settings),
  });
}

/** The key must be locked. */
export async function updateApiKey(
  trx: Knex,
  id: string,
  change: {
    settings?: ApiKeySettings;
    isDisabled?: boolean;
    revokedAt?: Date;
    secrets?: Pick<StoredApiKey, 'digest' | 'previous'>;
  },
  at: Date,
): Promise<void> {
  const { settings, isDisabled, revokedAt, secrets } = change;
  await trx('api_keys')
    .where({ id })
    .update({
      updated_at: at,
      ...(settings && settingsColumns(settings)),
      ...(isDisabled !== undefined && { is_disabled: isDisabled }),
      ...(revokedAt && { revoked_at: revokedAt }),
      ...(secrets && {
        digest: secrets.digest,
        previous_digest: secrets.previous?.digest ?? null,
        previous_until: secrets.previous?.until ?? null,
      }),
    });
}

/** In the order in which uses are written, so that neither waits for the other in a circle. @returns their ids */
export async function removeApiKeysOf(trx: Knex, owner: ApiKeyOwner): Promise<string[]> {
  const [[column, value] = ['', '']] = Object.entries(ownerColumns(owner));
  const { rows } = await trx.raw<{ rows: { id: string }[] }>(
    `with locked as (select id from api_keys where ?? = ? order by id for update)
     delete from api_keys where id in (select id from locked) returning id`,
    [column, value],
  );
  return rows.map(({ id }) => id).sort();
}

/** Whether a write failed because the key's owner is not there. */
export function isOwnerGone(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error) || error.code !== '23503' || !('constraint' in error))
    return false;
  return error.constraint === 'api_keys_account_id' || error.constraint === 'api_keys_client_id';
}

function selectApiKeys(db: Knex): Knex.QueryBuilder<ApiKeyRow, ApiKeyRow[]> {
  return db<ApiKeyRow>('api_keys')
    .leftJoin('api_key_counters', 'api_key_counters.key_id', 'api_keys.id')
    .select('api_keys.*', 'api_key_counters.last_used_at', 'api_key_counters.last_used_from');
}

export function ownerColumns(owner: ApiKeyOwner): Record<string, string> {
  return owner.kind === 'account' ? { account_id: owner.accountId } : { client_id: owner.clientId };
}

function settingsColumns(settings: ApiKeySettings): Record<string, unknown> {
  return {
    name: settings.name,
    expires_at: settings.expiresAt ?? null,
    allowed_addresses: settings.allowedAddresses,
    quota_requests: settings.quota?.requests ?? null,
    quota_window_seconds: settings.quota?.windowSeconds ?? null,
    rate_per_second: settings.ratePerSecond ?? null,
  };
}

function toStoredApiKey(row: ApiKeyRow): StoredApiKey {
  const { quota_requests: requests, quota_window_seconds: windowSeconds } = row;
  const owner: ApiKeyOwner =
    row.account_id === null
      ? { kind: 'client', clientId: row.client_id ?? '' }
      : { kind: 'account', accountId: row.account_id };
  const apiKey: ApiKey = {
    id: row.id,
    name: row.name,
    owner: Object.freeze(owner),
    scopes: Object.freeze(row.scopes),
    apis: Object.freeze(row.apis),
    expiresAt: row.expires_at ?? undefined,
    allowedAddresses: Object.freeze(row.allowed_addresses),
    quota:
      requests === null || windowSeconds === null
        ? undefined
        : Object.freeze({ requests: Number(requests), windowSeconds }),
    ratePerSecond: row.rate_per_second ?? undefined,
    isDisabled: row.is_disabled,
    revokedAt: row.revoked_at ?? undefined,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    lastUsedAt: row.last_used_at ?? undefined,
    lastUsedFrom: row.last_used_from ?? undefined,
  };
  const { digest, previous_digest: previousDigest, previous_until: until } = row;
  const previous = previousDigest === null || until === null ? undefined : { digest: previousDigest, until };
  return Object.freeze({ apiKey: Object.freeze(apiKey), digest, previous });
}
