import type { Knex } from 'knex';
import type { AuditContext } from '../audit/index.ts';
import { announceChange } from '../database/index.ts';
import { AppError } from '../errors.ts';
import type { ApiKey, ApiKeyOwner, ApiKeyRefusal } from './api-key.ts';
import type { ApiKeyAction, ApiKeyAudit } from './api-key-audit.ts';
import { isApiKeyId, toApiKeyClientId } from './api-key-value.ts';
import { findApiKey, lockApiKey, type StoredApiKey } from './api-keys-store.ts';
import { notFound } from './check-api-key.ts';

export type Changed = { ok: true; apiKey: ApiKey };

/** The one way in which a key changes: with its audit event and its announcement, or not at all. */
export type ApiKeyChanges = Readonly<{
  /** One transaction in which the key is locked. A key that is revoked is refused; `work` that refuses leaves no trace. */
  change(
    id: string,
    action: ApiKeyAction,
    by: AuditContext | undefined,
    work: (trx: Knex, stored: StoredApiKey) => Promise<'changed' | 'unchanged' | ApiKeyRefusal>,
  ): Promise<Changed | ApiKeyRefusal>;
  /** The event and the announcement alone, in the transaction of whoever makes or removes a key. */
  record(
    trx: Knex,
    event: { action: ApiKeyAction; id: string; owner: ApiKeyOwner },
    by: AuditContext | undefined,
  ): Promise<void>;
}>;

/** @param dependencies.forget drops what is cached of a key */
export function createApiKeyChanges(dependencies: {
  knex: Knex;
  audit: ApiKeyAudit;
  forget(id: string): void;
}): ApiKeyChanges {
  const { knex, audit, forget } = dependencies;

  const record: ApiKeyChanges['record'] = async (trx, event, by) => {
    await audit.apiKeyChanged(trx, event, by);
    await announceChange(trx, 'api-keys', event.id);
  };

  return Object.freeze<ApiKeyChanges>({
    record,
    async change(id, action, by, work) {
      if (!isApiKeyId(id)) return noSuchKey(id);
      try {
        return await knex.transaction(async (trx) => {
          const stored = await lockApiKey(trx, id);
          if (stored === undefined) return noSuchKey(id);
          if (stored.apiKey.revokedAt !== undefined) {
            return { ok: false, code: 'revoked', reason: `API key ${toApiKeyClientId(id)} has been revoked` } as const;
          }
          const outcome = await work(trx, stored);
          if (outcome === 'unchanged') return { ok: true, apiKey: stored.apiKey } as const;
          if (outcome !== 'changed') return outcome;
          await record(trx, { action, id, owner: stored.apiKey.owner }, by);
          return { ok: true, apiKey: await readBack(trx, id) } as const;
        });
      } finally {
        // The feed will say so too, but whoever changed it reads what they wrote at once.
        forget(id);
      }
    },
  });
}

/** A key that has just been written or looked at. @throws {AppError} `server_error` where it is not there any more */
export async function readBack(db: Knex, id: string): Promise<ApiKey> {
  const stored = await findApiKey(db, id);
  if (stored === undefined) throw new AppError({ code: 'server_error', message: `API key ${id} has vanished` });
  return stored.apiKey;
}

/** What has not the form of an id is not repeated: it may be a whole key. */
function noSuchKey(id: string): ApiKeyRefusal {
  return notFound(isApiKeyId(id) ? `there is no API key ${toApiKeyClientId(id)}` : 'there is no such API key');
}
