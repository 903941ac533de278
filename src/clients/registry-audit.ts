import type { Knex } from 'knex';
import type { AuditContext } from '../audit/index.ts';

export type ClientAction =
  | 'created'
  | 'registered'
  | 'updated'
  | 'deleted'
  | 'secret_rotated'
  | 'blocked'
  | 'unblocked';

/** Roles are named, because they say what the service may do from then on; the change that sets them comes beside it. */
export type ClientChange =
  | { action: ClientAction; clientId: string }
  | { action: 'roles_set'; clientId: string; roles: readonly string[] };
export type ApiAction = 'created' | 'updated' | 'deleted';

/** What the registry wants of the audit trail: to be written in the very transaction of the change, or not at all. */
export interface RegistryAudit {
  /** @param by who did it, where it was not whoever uses these domains */
  clientChanged(trx: Knex, change: ClientChange, by?: AuditContext): Promise<void>;
  apiChanged(trx: Knex, change: { action: ApiAction; identifier: string }): Promise<void>;
}
