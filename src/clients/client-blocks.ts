import type { Knex } from 'knex';
import type { Clock } from '../config/index.ts';
import { announceChange, type ChangeFeed, createChangeCache } from '../database/index.ts';
import { isDocumentUrl } from './client-document.ts';
import type { RegistryAudit } from './registry-audit.ts';

type BlockRefusal = { ok: false; code: 'conflict' | 'invalid_metadata' | 'not_found'; reason: string };

/** What operators refuse of the clients that nobody registered: the URL of one, or a host with all below it. */
export type ClientBlocks = Readonly<{
  /** Every node refuses it within the second, and so do the tokens that it has, wherever they are introspected. */
  block(pattern: string): Promise<{ ok: true } | BlockRefusal>;
  unblock(pattern: string): Promise<{ ok: true } | BlockRefusal>;
  /** In their own order. */
  list(): Promise<{ pattern: string; createdAt: Date }[]>;
  /** From memory where possible. @throws the database's own error */
  isBlocked(url: string): Promise<boolean>;
}>;

const HOST = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$|^\[[0-9a-f:.]+\]$/;
/** There is one answer for all: it is a handful of rows. */
const ALL = 'all';

/** @param dependencies.audit told of every change within its transaction: what can't be recorded doesn't happen */
export function createClientBlocks(dependencies: {
  knex: Knex;
  clock: Clock;
  changeFeed: Pick<ChangeFeed, 'subscribe' | 'isCurrent'>;
  audit: Pick<RegistryAudit, 'clientChanged'>;
}): ClientBlocks {
  const { knex, clock, audit } = dependencies;
  const cache = createChangeCache<ReadonlySet<string>>({
    lookUp: async () => new Set(await knex('client_blocks').pluck<string[]>('pattern')),
    isTold: dependencies.changeFeed.isCurrent,
    clock,
  });
  dependencies.changeFeed.subscribe('clients', () => cache.drop());

  async function change(
    pattern: string,
    action: 'blocked' | 'unblocked',
    work: (trx: Knex) => Promise<boolean>,
  ): Promise<boolean> {
    const isDone = await knex.transaction(async (trx) => {
      if (!(await work(trx))) return false;
      await audit.clientChanged(trx, { action, clientId: pattern });
      await announceChange(trx, 'clients', pattern);
      return true;
    });
    cache.drop();
    return isDone;
  }

  return Object.freeze({
    async block(pattern: string) {
      if (!isDocumentUrl(pattern) && !HOST.test(pattern)) {
        const reason = `${pattern} is neither the https URL of a client nor a host, such as agent.example.com`;
        return { ok: false, code: 'invalid_metadata', reason } as const;
      }
      const isNew = await change(pattern, 'blocked', async (trx) => {
        const row = { pattern, created_at: new Date(clock()) };
        const inserted = await trx('client_blocks').insert(row).onConflict('pattern').ignore().returning('pattern');
        return inserted.length > 0;
      });
      if (isNew) return { ok: true } as const;
      return { ok: false, code: 'conflict', reason: `${pattern} is blocked already` } as const;
    },
    async unblock(pattern: string) {
      const was = await change(
        pattern,
        'unblocked',
        async (trx) => (await trx('client_blocks').where({ pattern }).delete()) > 0,
      );
      if (was) return { ok: true } as const;
      return { ok: false, code: 'not_found', reason: `${pattern} is not blocked` } as const;
    },
    async list() {
      const rows = await knex('client_blocks').select('pattern', 'created_at').orderByRaw('pattern collate "C"');
      return rows.map((row: { pattern: string; created_at: Date }) => ({
        pattern: row.pattern,
        createdAt: row.created_at,
      }));
    },
    async isBlocked(url: string) {
      const patterns = await cache.get(ALL);
      if (patterns === undefined || patterns.size === 0) return false;
      return patterns.has(url) || hostsAbove(new URL(url).hostname).some((host) => patterns.has(host));
    },
  });
}

/** A host and every domain that it is below. */
function hostsAbove(host: string): string[] {
  const labels = host.split('.');
  return labels.map((_, index) => labels.slice(index).join('.'));
}
