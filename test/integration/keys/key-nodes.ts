import { randomBytes } from 'node:crypto';
import { createAudit } from '../../../src/audit/index.ts';
import { type Database, openDatabase } from '../../../src/database/index.ts';
import {
  createKeyWrapper,
  createSigningKeys,
  type SigningAlgorithm,
  type SigningKeys,
} from '../../../src/keys/index.ts';
import type { KeyPolicy } from '../../../src/keys/key-policy.ts';
import type { KeyWrapper } from '../../../src/keys/key-wrapper.ts';
import { openTestDatabase, type TestDatabase } from '../../harness/database.ts';
import { silentLogger } from '../../harness/loggers.ts';

/** Long enough that nothing of it happens by itself while a test runs. */
const HOUR = 3_600;
const basePolicy: KeyPolicy = {
  algorithms: ['RS256', 'ES256'],
  rotationSeconds: 90 * HOUR,
  announceSeconds: 14 * HOUR,
  retentionSeconds: 15 * HOUR,
};

type NodeOptions = {
  policy?: Partial<KeyPolicy>;
  inUse?: readonly string[];
  keyEncryptionKeys?: readonly Buffer[];
  wrapper?: KeyWrapper;
};

export type KeyNodes = Readonly<{
  database: TestDatabase;
  keyEncryptionKey: Buffer;
  /** The keys as one node has them, with connections of its own. */
  node(options?: NodeOptions): SigningKeys;
  /** Time goes on: everything that has happened was so many seconds earlier. */
  pass(seconds: number): Promise<void>;
  /** Such as `ES256 active`, sorted. */
  states(): Promise<string[]>;
  kidOf(algorithm: SigningAlgorithm, state: string): Promise<string>;
  /** What was recorded of a key, in order. */
  eventsOf(kid: string): Promise<string[]>;
  close(): Promise<void>;
}>;

/** A database of its own with nodes on it. */
export async function openKeyNodes(): Promise<KeyNodes> {
  const database = await openTestDatabase();
  const { knex } = database.database;
  const keyEncryptionKey = randomBytes(32);
  const opened: Database[] = [];
  const audit = createAudit({ knex, clock: Date.now, logger: silentLogger });

  async function kidOf(algorithm: SigningAlgorithm, state: string): Promise<string> {
    const row = await knex('signing_keys').where({ algorithm, state }).first();
    if (row === undefined) throw new Error(`there is no ${state} key of ${algorithm}`);
    return row.kid as string;
  }

  return {
    database,
    keyEncryptionKey,
    node(options = {}) {
      const own = openDatabase({ url: database.url, poolSize: 4, logger: silentLogger });
      opened.push(own);
      return createSigningKeys({
        knex: own.knex,
        wrapper:
          options.wrapper ?? createKeyWrapper({ keyEncryptionKeys: options.keyEncryptionKeys ?? [keyEncryptionKey] }),
        audit,
        policy: { ...basePolicy, ...options.policy },
        algorithmsInUse: async () => options.inUse ?? ['RS256'],
      });
    },
    async pass(seconds) {
      const columns = ['created_at', 'announced_at', 'activated_at', 'retired_at', 'revoked_at'];
      const changes = columns.map((column) => `${column} = ${column} - interval '1 second' * ${seconds}`);
      await knex.raw(`update signing_keys set ${changes.join(', ')}`);
    },
    async states() {
      const rows = await knex('signing_keys').select('algorithm', 'state');
      return rows.map(({ algorithm, state }) => `${algorithm} ${state}`).sort();
    },
    kidOf,
    async eventsOf(kid) {
      const rows = await knex('audit_events').whereRaw(`details ->> 'kid' = ?`, [kid]).orderBy('id');
      return rows.map(({ type }) => type as string);
    },
    async close() {
      await Promise.all(opened.map((own) => own.close()));
      await database.close();
    },
  };
}

export { HOUR };
