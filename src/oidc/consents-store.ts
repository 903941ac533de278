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

/** What was remembered goes with its account or its client: the database sees to that. */
export type ConsentsStore = Readonly<{
  find(accountId: string, clientId: string): Promise<Consent | undefined>;
  /**
   * Remembers this too. One statement: what is allowed in two tabs at once is all remembered.
   *
   * @returns false where the account or the client is gone
   */
  add(accountId: string, clientId: string, consent: Consent): Promise<boolean>;
  /** Forgets what a person, or what one person of one client, or everybody of a client has allowed. */
  forget(whose: { accountId?: string; clientId?: string }): Promise<void>;
}>;

/** PostgreSQL's code for a row that hangs on one that is not there. */
const FOREIGN_KEY_VIOLATION = '23503';

export function createConsentsStore({ knex, clock }: { knex: Knex; clock: Clock }): ConsentsStore {
  return {
    async find(accountId, clientId) {
      const row = await knex<ConsentRow>('consents').where({ account_id: accountId, client_id: clientId }).first();
      return row && { scopes: row.scopes, claims: row.claims, resourceScopes: row.resource_scopes };
    },
    async forget({ accountId, clientId }) {
      await knex<ConsentRow>('consents')
        .where({
          ...(accountId === undefined ? undefined : { account_id: accountId }),
          ...(clientId === undefined ? undefined : { client_id: clientId }),
        })
        .modify((query) => {
          // Nobody named is nobody's, not everybody's.
          if (accountId === undefined && clientId === undefined) query.whereRaw('false');
        })
        .delete();
    },
    async add(accountId, clientId, consent) {
      try {
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
          .merge({
            scopes: knex.raw('array(select distinct unnest(consents.scopes || excluded.scopes))'),
            claims: knex.raw('array(select distinct unnest(consents.claims || excluded.claims))'),
            resource_scopes: knex.raw(MERGED_RESOURCE_SCOPES),
            updated_at: knex.raw('excluded.updated_at'),
          });
        return true;
      } catch (error) {
        if ((error as { code?: unknown }).code === FOREIGN_KEY_VIOLATION) return false;
        throw error;
      }
    },
  };
}

/** By resource, every scope that stands on either side. */
const MERGED_RESOURCE_SCOPES = `(
  select coalesce(jsonb_object_agg(resource, scopes), '{}')
  from (
    select resource, jsonb_agg(distinct scope) as scopes
    from (
      select key as resource, value as list from jsonb_each(consents.resource_scopes)
      union all
      select key, value from jsonb_each(excluded.resource_scopes)
    ) as either, jsonb_array_elements(list) as scope
    group by resource
  ) as merged
)`;
