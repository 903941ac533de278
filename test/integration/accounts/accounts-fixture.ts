import { randomBytes } from 'node:crypto';
import argon2 from 'argon2';
import type { AccountAudit, AccountChange } from '../../../src/accounts/accounts.ts';
import { type Account, createAccounts, createPasswordHasher } from '../../../src/accounts/index.ts';
import type { TestDatabase } from '../../harness/database.ts';
import { silentLogger } from '../../harness/loggers.ts';

/** The cheapest that argon2 may be: these tests are of what surrounds it. */
export const lightParameters = { memoryKib: 8_192, passes: 1, lanes: 1 };
export const password = 'correct horse battery';

/** Accounts whose argon2 computations and audit entries can be looked at. */
export function makeAccounts(
  testDatabase: TestDatabase,
  options: {
    parameters?: typeof lightParameters;
    hash?: typeof argon2.hash;
    audit?: AccountAudit;
    changeFeed?: Parameters<typeof createAccounts>[0]['changeFeed'];
    clock?: () => number;
  } = {},
) {
  const computations: string[] = [];
  const entries: AccountChange[] = [];
  const accounts = createAccounts({
    knex: testDatabase.database.knex,
    changeFeed: options.changeFeed ?? { subscribe: () => undefined, isCurrent: () => false },
    audit: options.audit ?? {
      async accountChanged(_trx, entry) {
        entries.push(entry);
      },
    },
    hasher: createPasswordHasher({
      parameters: options.parameters ?? lightParameters,
      argon2: {
        hash: ((...parameters: Parameters<typeof argon2.hash>) => {
          computations.push('hash');
          return (options.hash ?? argon2.hash)(...parameters);
        }) as typeof argon2.hash,
        verify(hash, given) {
          computations.push(`verify ${/m=\d+,p=\d+,t=\d+/.exec(hash)?.[0]}`);
          return argon2.verify(hash, given);
        },
      },
    }),
    logger: silentLogger,
    clock: options.clock ?? Date.now,
  });
  return { accounts, computations, entries };
}

export function uniqueEmail(): string {
  return `Ada.${randomBytes(8).toString('hex')}@Example.com`;
}

export async function createOne(
  accounts: ReturnType<typeof makeAccounts>['accounts'],
  input: Partial<Parameters<typeof accounts.create>[0]> = {},
): Promise<Account> {
  const result = await accounts.create({ email: uniqueEmail(), password, ...input });
  if (!result.ok) throw new Error(`${result.field} ${result.reason}`);
  return result.account;
}
