import type { Knex } from 'knex';
import type { AuditContext } from '../audit/index.ts';
import type { ApiKeyOwner } from './api-key.ts';

export type ApiKeyAction = 'created' | 'updated' | 'rolled' | 'disabled' | 'enabled' | 'revoked';

/** What keys want of the audit trail: to be written in the very transaction of the change, or not at all. */
export interface ApiKeyAudit {
  apiKeyChanged(
    trx: Knex,
    change: { action: ApiKeyAction; id: string; owner: ApiKeyOwner },
    by: AuditContext | undefined,
  ): Promise<void>;
}
