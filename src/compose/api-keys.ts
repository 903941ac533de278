import type { AccountAudit, Accounts } from '../accounts/index.ts';
import { type ApiKeyAudit, type ApiKeyOwners, type ApiKeys, toApiKeyClientId } from '../api-keys/index.ts';
import type { Audit, AuditContext, AuditEvent } from '../audit/index.ts';
import { type Apis, type Clients, type RegistryAudit, scopesIn } from '../clients/index.ts';

/** Changes of API keys in the audit trail. @param by who changes them, where nobody is named */
export function apiKeyAudit(audit: Pick<Audit, 'recordWithin'>, by: AuditContext): ApiKeyAudit {
  return {
    apiKeyChanged(trx, { action, id, owner: { kind, ...owner } }, context = by) {
      return audit.recordWithin(trx, { type: `api_key.${action}`, apiKeyId: toApiKeyClientId(id), ...owner }, context);
    },
  };
}

/**
 * Changes of accounts and clients in the audit trail. Here, in the transaction that deletes an owner, go that owner's keys,
 * too: the rooms of owners know no keys, and the keys' rows must not stay behind.
 *
 * @param options.keysOf asked when an owner is deleted, as keys are composed after their owners
 */
export function ownerAudits(
  audit: Pick<Audit, 'recordWithin'>,
  { keysOf, ...by }: AuditContext & { keysOf: () => Pick<ApiKeys, 'removeOf'> },
): AccountAudit & Pick<RegistryAudit, 'clientChanged'> {
  return {
    async accountChanged(trx, change) {
      const { accountId } = change;
      if (change.action === 'deleted') await keysOf().removeOf(trx, { kind: 'account', accountId });
      const event: AuditEvent =
        change.action === 'roles_set'
          ? { type: 'account.roles_set', accountId, roles: [...change.roles] }
          : { type: `account.${change.action}`, accountId };
      return audit.recordWithin(trx, event, by);
    },
    async clientChanged(trx, change, context = by) {
      const { clientId } = change;
      if (change.action === 'deleted') await keysOf().removeOf(trx, { kind: 'client', clientId });
      const event: AuditEvent =
        change.action === 'roles_set'
          ? { type: 'client.roles_set', clientId, roles: [...change.roles] }
          : { type: `client.${change.action}`, clientId };
      return audit.recordWithin(trx, event, context);
    },
  };
}

/** Who may have API keys, and what these may be for. */
export function apiKeyOwners(registries: {
  accounts: Pick<Accounts, 'find'>;
  clients: Pick<Clients, 'find'>;
  apis: Pick<Apis, 'list' | 'hold'>;
}): ApiKeyOwners {
  const { accounts, clients, apis } = registries;
  return {
    async findClient(id) {
      const client = await clients.find(id);
      if (client === undefined) return undefined;
      const { grant_types: grantTypes, scope } = client.metadata;
      return { grantTypes, scopes: scopesIn(scope), apis: client.apis, apiScopes: client.apiScopes };
    },
    findAccount: (id) => accounts.find(id),
    holdApis: apis.hold,
    async listApis() {
      const registered = await apis.list();
      return registered.map(({ identifier, scopes }) => ({ identifier, scopes: scopes.map(({ scope }) => scope) }));
    },
  };
}
