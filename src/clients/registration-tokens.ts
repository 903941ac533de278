import { randomBytes } from 'node:crypto';
import type { Knex } from 'knex';
import type { Clock } from '../config/index.ts';
import { generateSecret, secretDigest } from './client-secret.ts';
import { isPolicyName, POLICY_NAMES } from './registration-policies.ts';
import {
  deleteSpentTokens,
  deleteToken,
  findToken,
  giveUseBack,
  insertToken,
  listTokens,
  type StoredRegistrationToken,
  takeUse,
} from './registration-tokens-store.ts';

/** Secret scanners find it by how it begins. */
const PREFIX = 'tsr_';
const ID_BYTES = 8;
const MAX_POLICIES = 50;

/** By which an operator lets somebody register clients (initial access tokens of RFC 7591, section 3). */
export type RegistrationToken = StoredRegistrationToken;

/** What the tokens want of the audit trail, in the very transaction of the change. */
export interface RegistrationTokenAudit {
  registrationTokenChanged(trx: Knex, change: { action: 'created' | 'revoked'; id: string }): Promise<void>;
}

/** Looked up each time: one that is revoked is dead at once, on every node. */
export type RegistrationTokens = Readonly<{
  /**
   * @param input.uses how many clients may be registered with it; undefined: any number
   * @returns the value, which is kept nowhere
   */
  create(input: {
    policies: readonly string[];
    expiresAt?: Date | undefined;
    uses?: number | undefined;
  }): Promise<
    { ok: true; token: RegistrationToken; value: string } | { ok: false; code: 'invalid_metadata'; reason: string }
  >;
  /** All that are alive, the oldest first. */
  list(): Promise<RegistrationToken[]>;
  revoke(id: string): Promise<{ ok: true } | { ok: false; code: 'not_found'; reason: string }>;
  /** Undefined where there is none, or it is used up or over. */
  find(value: string): Promise<RegistrationToken | undefined>;
  /** Takes one of its uses. @returns whether there was one left */
  take(id: string): Promise<boolean>;
  /** Nothing was registered after all. */
  giveBack(id: string): Promise<void>;
  /** Removes those that are over. @returns how many, at most `batchSize` */
  sweep(batchSize: number): Promise<number>;
}>;

export function createRegistrationTokens(dependencies: {
  knex: Knex;
  clock: Clock;
  audit: RegistrationTokenAudit;
}): RegistrationTokens {
  const { knex, clock, audit } = dependencies;
  const now = () => new Date(clock());

  return Object.freeze<RegistrationTokens>({
    async create({ policies, expiresAt, uses }) {
      const unknown = policies.find((name) => !isPolicyName(name));
      if (unknown !== undefined) return invalid(`policies: ${unknown} is none of ${POLICY_NAMES.join(', ')}`);
      if (policies.length > MAX_POLICIES) return invalid(`policies: wants at most ${MAX_POLICIES}`);
      const value = `${PREFIX}${generateSecret()}`;
      const token = {
        id: randomBytes(ID_BYTES).toString('hex'),
        policies: [...new Set(policies)],
        usesLeft: uses,
        createdAt: now(),
        expiresAt,
      };
      await knex.transaction(async (trx) => {
        await insertToken(trx, token, secretDigest(value));
        await audit.registrationTokenChanged(trx, { action: 'created', id: token.id });
      });
      return { ok: true, token, value };
    },
    list: () => listTokens(knex, now()),
    async revoke(id) {
      const isDone = await knex.transaction(async (trx) => {
        if (!(await deleteToken(trx, id))) return false;
        await audit.registrationTokenChanged(trx, { action: 'revoked', id });
        return true;
      });
      return isDone ? { ok: true } : { ok: false, code: 'not_found', reason: `there is no registration token ${id}` };
    },
    async find(value) {
      return value.startsWith(PREFIX) ? findToken(knex, secretDigest(value), now()) : undefined;
    },
    take: (id) => takeUse(knex, id, now()),
    giveBack: (id) => giveUseBack(knex, id),
    sweep: (batchSize) => deleteSpentTokens(knex, { size: batchSize, now: now() }),
  });
}

function invalid(reason: string) {
  return { ok: false, code: 'invalid_metadata', reason } as const;
}
