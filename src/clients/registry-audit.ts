import type { Knex } from 'knex';

export type ClientAction = 'created' | 'updated' | 'deleted' | 'secret_rotated';
export type ApiAction = 'created' | 'updated' | 'deleted';

/** What the registry wants of the audit trail: to be written in the very transaction of the change, or not at all. */
export interface RegistryAudit {
  clientChanged(trx: Knex, change: { action: ClientAction; clientId: string }): Promise<void>;
  apiChanged(trx: Knex, change: { action: ApiAction; identifier: string }): Promise<void>;
}
