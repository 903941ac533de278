import type { Knex } from 'knex';
import pg from 'pg';
import { z } from 'zod';
import type { Logger } from '../telemetry/index.ts';

type ChangeTopic = 'clients' | 'apis' | 'keys' | 'accounts';
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
/** How late a change is seen at the most when its message was lost; one short query for each node in this time. */
const POLL_INTERVAL_MS = 5_000;
/** A database that restarts is listened to again at once; one that stays away is asked four times a second. */
const RECONNECT_DELAY_MS = 250;

/** A message on the channel. The topic may be one that only a newer version knows; it has no listeners here. */
const changeSchema = z
  .string()
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: 'custom', message: 'is not JSON' });
      return z.NEVER;
    }
  })
  .pipe(z.object({ topic: z.string(), revision: z.int().positive(), id: z.string().optional() }));

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
  const listeners = new Map<string, ChangeListener[]>();
  const seen = new Map<string, number>();
  let client: pg.Client | undefined;
  let isClosed = false;
  let reconnectTimer: NodeJS.Timeout | undefined;
  let pollTimer: NodeJS.Timeout | undefined;

  async function tell(topic: string, id?: string): Promise<void> {
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
    const rows = await options.knex<{ topic: string; revision: string }>('revisions').select('topic', 'revision');
    for (const { topic, revision } of rows) {
      if (seen.get(topic) === Number(revision)) continue;
      seen.set(topic, Number(revision));
      await tell(topic);
    }
  }

  function received(message: string): void {
    const parsed = changeSchema.safeParse(message);
    if (!parsed.success) {
      // Anybody who may connect may notify. What was meant is unknown: the revisions say whether anything has changed.
      logger.warn({ length: message.length }, 'a message on the channel of changes was not understood');
      heal().catch(() => undefined);
      return;
    }
    const change = parsed.data;
    // A gap means that a message was lost: then what it named is unknown, and everything of the topic is in doubt.
    const isNext = seen.get(change.topic) === change.revision - 1;
    seen.set(change.topic, Math.max(change.revision, seen.get(change.topic) ?? 0));
    void tell(change.topic, isNext ? change.id : undefined);
  }

  /** Listens first and then looks at the revisions, so that nothing falls between. Where either fails nothing is left open. */
  async function connect(): Promise<void> {
    const next = new pg.Client({ connectionString: options.url, application_name: 'tessera listen', keepAlive: true });
    next.on('notification', ({ payload }) => payload !== undefined && received(payload));
    next.on('error', () => undefined);
    let isLost = false;
    next.on('end', () => {
      isLost = true;
      if (client !== next) return;
      client = undefined;
      reconnectLater();
    });
    try {
      await next.connect();
      await next.query(`listen ${CHANNEL}`);
      await heal();
      if (isLost || isClosed) throw new Error('the connection that listens for changes ended while it was made');
      client = next;
    } catch (error) {
      await next.end();
      throw error;
    }
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
