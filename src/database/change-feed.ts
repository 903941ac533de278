import type { Knex } from 'knex';
import pg from 'pg';
import type { Logger } from '../telemetry/index.ts';

export type ChangeTopic = 'clients' | 'apis' | 'keys' | 'accounts' | 'secrets' | 'artifacts';
/** `id` is what changed; absent: anything of the topic may have. */
type ChangeListener = (id?: string) => void | Promise<void>;

/** Tells every node what was changed on one of them: by NOTIFY at once, by a poll of the revisions when one was lost. */
export type ChangeFeed = Readonly<{
  /** Resolves when the first connection listens; afterwards it reconnects by itself. */
  start(): Promise<void>;
  subscribe(topic: ChangeTopic, listener: ChangeListener): void;
  isListening(): boolean;
  close(): Promise<void>;
}>;

const CHANNEL = 'tessera_changes';
const POLL_INTERVAL_MS = 5_000;
const RECONNECT_DELAY_MS = 250;

/**
 * Says in the transaction `trx` that something has changed; the others hear of it when it commits, never before. Only
 * for changes that people make: NOTIFY takes a lock over the whole database at commit.
 */
export async function announceChange(trx: Knex, topic: ChangeTopic, id?: string): Promise<void> {
  const result = await trx.raw<{ rows: { revision: string }[] }>(
    `insert into revisions (topic, revision) values (?, 1)
     on conflict (topic) do update set revision = revisions.revision + 1 returning revision`,
    [topic],
  );
  const revision = Number(result.rows[0]?.revision);
  await trx.raw('select pg_notify(?, ?)', [CHANNEL, JSON.stringify({ topic, revision, id })]);
}

/** @param url a direct connection: LISTEN does not survive a pooler in transaction mode */
export function createChangeFeed(options: { url: string; knex: Knex; logger: Logger }): ChangeFeed {
  const { logger } = options;
  const listeners = new Map<ChangeTopic, ChangeListener[]>();
  const seen = new Map<string, number>();
  let client: pg.Client | undefined;
  let isClosed = false;
  let reconnectTimer: NodeJS.Timeout | undefined;
  let pollTimer: NodeJS.Timeout | undefined;

  async function tell(topic: ChangeTopic, id?: string): Promise<void> {
    for (const listener of listeners.get(topic) ?? []) {
      try {
        await listener(id);
      } catch (error) {
        logger.error({ err: error, topic }, 'a change could not be taken over; the next poll tries again');
        seen.delete(topic);
      }
    }
  }

  async function heal(): Promise<void> {
    const rows = await options.knex<{ topic: ChangeTopic; revision: string }>('revisions').select('topic', 'revision');
    for (const { topic, revision } of rows) {
      if (seen.get(topic) === Number(revision)) continue;
      seen.set(topic, Number(revision));
      await tell(topic);
    }
  }

  function received(message: string): void {
    const change = JSON.parse(message) as { topic: ChangeTopic; revision: number; id?: string };
    // A gap means that a message was lost: then what it named is unknown, and everything of the topic is in doubt.
    const isNext = seen.get(change.topic) === change.revision - 1;
    seen.set(change.topic, Math.max(change.revision, seen.get(change.topic) ?? 0));
    void tell(change.topic, isNext ? change.id : undefined);
  }

  async function connect(): Promise<void> {
    const next = new pg.Client({ connectionString: options.url, application_name: 'tessera listen', keepAlive: true });
    next.on('notification', ({ payload }) => payload !== undefined && received(payload));
    next.on('error', () => undefined);
    next.on('end', () => {
      if (client === next) client = undefined;
      reconnectLater();
    });
    await next.connect();
    await next.query(`listen ${CHANNEL}`);
    client = next;
    await heal();
  }

  function reconnectLater(): void {
    if (isClosed || reconnectTimer !== undefined) return;
    reconnectTimer = setTimeout(() => {
      reconnectTimer = undefined;
      connect().catch(() => reconnectLater());
    }, RECONNECT_DELAY_MS);
  }

  return Object.freeze({
    async start() {
      await connect();
      pollTimer = setInterval(() => heal().catch(() => undefined), POLL_INTERVAL_MS);
      pollTimer.unref();
    },
    subscribe(topic: ChangeTopic, listener: ChangeListener) {
      listeners.set(topic, [...(listeners.get(topic) ?? []), listener]);
    },
    isListening: () => client !== undefined,
    async close() {
      isClosed = true;
      clearTimeout(reconnectTimer);
      clearInterval(pollTimer);
      await client?.end();
    },
  });
}
