import type { Accounts } from '../accounts/index.ts';
import { type ApiKeyAudit, type ApiKeyOwners, toApiKeyClientId } from '../api-keys/index.ts';
import type { Audit, AuditContext } from '../audit/index.ts';
import type { Apis, Clients } from '../clients/index.ts';

/** Changes of API keys in the audit trail. @param by who changes them, where nobody is named */
export function apiKeyAudit(audit: Pick<Audit, 'recordWithin'>, by: AuditContext): ApiKeyAudit {
  return {
    apiKeyChanged(trx, { action, id, owner: { kind, ...owner } }, context = by) {
      return audit.recordWithin(trx, { type: `api_key.${action}`, apiKeyId: toApiKeyClientId(id), ...owner }, context);
    },
  };
}

/** Who may have API keys, and what these may be for. */
export function apiKeyOwners(registries: {
  accounts: Pick<Accounts, 'find'>;
  clients: Pick<Clients, 'find'>;
  apis: Pick<Apis, 'list'>;
}): ApiKeyOwners {
  const { accounts, clients, apis } = registries;
  return {
    async findClient(id) {
      const client = await clients.find(id);
      if (client === undefined) return undefined;
      const { grant_types: grantTypes, scope } = client.metadata;
      return { grantTypes, scopes: (scope ?? '').split(' '), apis: client.apis, apiScopes: client.apiScopes };
    },
    findAccount: (id) => accounts.find(id),
    async listApis() {
      const registered = await apis.list();
      return registered.map(({ identifier, scopes }) => ({ identifier, scopes: scopes.map(({ scope }) => scope) }));
    },
  };
}
