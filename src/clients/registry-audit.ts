import type { Knex } from 'knex';

/** What the registry wants of the audit trail: to be written in the very transaction of the change, or not at all. */
export interface ClientAudit {
  clientChanged(
    trx: Knex,
    change: { action: 'created' | 'updated' | 'deleted' | 'secret_rotated'; clientId: string },
  ): Promise<void>;
  apiChanged(trx: Knex, change: { action: 'created' | 'updated' | 'deleted'; identifier: string }): Promise<void>;
}
