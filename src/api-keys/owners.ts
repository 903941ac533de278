import type { Knex } from 'knex';

/** What is asked of the owners of keys, when one is made; filled by `compose`. */
export interface ApiKeyOwners {
  /** `undefined`: no such client. `apis` empty: any, within its scopes. */
  findClient(id: string): Promise<
    | {
        grantTypes: readonly string[];
        scopes: readonly string[];
        apis: readonly string[];
        /** Of its scopes those that it may ask for at an API; an API that is not named: all. */
        apiScopes: Readonly<Record<string, readonly string[]>>;
      }
    | undefined
  >;
  /** `undefined`: no such account. */
  findAccount(id: string): Promise<{ isDisabled: boolean } | undefined>;
  /** Every registered API with the scopes that it owns. */
  listApis(): Promise<readonly RegisteredScopes[]>;
  /** Keeps APIs from being deleted to the end of the transaction. @returns the first that is not registered */
  holdApis(trx: Knex, identifiers: readonly string[]): Promise<string | undefined>;
}

export type RegisteredScopes = Readonly<{ identifier: string; scopes: readonly string[] }>;
