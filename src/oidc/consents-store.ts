import type { Knex } from 'knex';
import type { Clock } from '../config/index.ts';

/** What one person has allowed one client. */
export type Consent = {
  scopes: string[];
  claims: string[];
  /** Scopes by the identifier of the API that owns them. */
  resourceScopes: Record<string, string[]>;
};

type ConsentRow = {
  account_id: string;
  client_id: string;
  scopes: string[];
  claims: string[];
  resource_scopes: Record<string, string[]>;
};

export type ConsentsStore = Readonly<{
  find(accountId: string, clientId: string): Promise<Consent | undefined>;
  /** Replaces what was remembered. */
  save(accountId: string, clientId: string, consent: Consent): Promise<void>;
  /** Within the transaction that deletes the account or the client: a client's id may be given to another one. */
  forget(trx: Knex, whose: { accountId: string } | { clientId: string }): Promise<void>;
}>;

export function createConsentsStore({ knex, clock }: { knex: Knex; clock: Clock }): ConsentsStore {
  return {
    async find(accountId, clientId) {
      const row = await knex<ConsentRow>('consents').where({ account_id: accountId, client_id: clientId }).first();
      return row && { scopes: row.scopes, claims: row.claims, resourceScopes: row.resource_scopes };
    },
    async save(accountId, clientId, consent) {
      await knex('consents')
        .insert({
          account_id: accountId,
          client_id: clientId,
          scopes: consent.scopes,
          claims: consent.claims,
          resource_scopes: JSON.stringify(consent.resourceScopes),
          updated_at: new Date(clock()),
        })
        .onConflict(['account_id', 'client_id'])
        .merge();
    },
    async forget(trx, whose) {
      await trx('consents')
        .where('accountId' in whose ? { account_id: whose.accountId } : { client_id: whose.clientId })
        .delete();
    },
  };
}
