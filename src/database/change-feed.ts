import { setTimeout as delay } from 'node:timers/promises';
import type { Knex } from 'knex';
import pg from 'pg';
import { z } from 'zod';
import type { Logger } from '../telemetry/index.ts';
import { type ChangeListener, createChangeListeners } from './change-listeners.ts';
import { CONNECT_TIMEOUT_MS } from './connect-timeout.ts';
import { createTakeOverFaults } from './take-over-faults.ts';

type ChangeTopic = 'clients' | 'apis' | 'keys' | 'accounts' | 'revocations' | 'api-keys';
/** `undefined`: messages may have been missed, for the connection that listens was lost or has just been made. */
type MessageListener = (message: string | undefined) => void;

/** Tells every node what was changed on one of them: by NOTIFY at once, by a poll of the revisions when one was lost. */
export type ChangeFeed = Readonly<{
  /** Resolves when the first connection listens; afterwards it reconnects by itself. */
  start(): Promise<void>;
  subscribe(topic: ChangeTopic, listener: ChangeListener): void;
  /**
   * Messages on a channel of its own, to be asked for before the start. They have no revision behind them, so that nobody
   * waits for anybody to send one, and no poll heals a lost one: whoever hears must do without for as long as
   * `isListening()` may take to see a silent connection.
   */
  hear(channel: string, listener: MessageListener): void;
  /** Whether the connection on which messages come is there, and has answered of late. */
  isListening(): boolean;
  /**
   * Whether the revisions were looked at of late, by whatever connection: then every change that was committed more than
   * 750 ms ago has been told to its listeners, its message lost or not.
   */
  isCurrent(): boolean;
  /** Topics of which a listener could not take over a change, and can't yet. Each poll tells it again. */
  failingTopics(): readonly string[];
  close(): Promise<void>;
}>;

const CHANNEL = 'tessera_changes';
/**
 * How often the revisions are looked at. The look goes by the connection that listens and so proves it; one that is still
 * unanswered after this time is repeated by the pool. A change whose message was lost is so seen after twice this time at
 * the latest, on a connection that has fallen silent as well: 300 ms before the promised second, for three short queries
 * a second on each node.
 */
const POLL_INTERVAL_MS = 350;
/** After a look one is current for so long: until the next one has had time to answer, and below the promised second. */
const CURRENT_MS = 750;
/** A connection that gives no answer for so long (a firewall forgot it, the network is gone) is made again. */
const ANSWER_TIMEOUT_MS = 2_000;
/** A good-bye that a silent network swallows must not hold up the end. */
const END_LIMIT_MS = 1_000;
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

type Revision = { topic: string; revision: string };

/** @param url a direct connection: LISTEN does not survive a pooler in transaction mode */
export function createChangeFeed(options: { url: string; knex: Knex; logger: Logger }): ChangeFeed {
  const { logger } = options;
  const hearers = new Map<string, MessageListener>();
  /** The revisions as their rows told them last, and nothing that a message claimed: anybody who may connect may notify. */
  const seen = new Map<string, number>();
  /** How far messages without a gap have told on from there; what they claim is looked up by the next poll all the same. */
  const claimed = new Map<string, number>();
  const faults = createTakeOverFaults({ logger, now: () => performance.now() });
  const listeners = createChangeListeners({
    patienceMs: POLL_INTERVAL_MS,
    failed(topic, error) {
      seen.delete(topic);
      // At the end what a listener works with is closed under it.
      if (!isClosed) faults.failed(topic, error);
    },
    succeeded: faults.succeeded,
  });
  let doubtedAt = Number.NEGATIVE_INFINITY;
  let client: pg.Client | undefined;
  /** The connection whose last look is under way. */
  let unanswered: pg.Client | undefined;
  /** Why the connection that listens is about to end, where it said so. */
  let fault: unknown;
  let healing: Promise<void> | undefined;
  /** When the last look that was taken over began, on a clock that nobody sets. */
  let lookedAt = Number.NEGATIVE_INFINITY;
  let isClosed = false;
  let reconnectTimer: NodeJS.Timeout | undefined;
  let pollTimer: NodeJS.Timeout | undefined;

  async function takeOver(revisions: readonly Revision[]): Promise<void> {
    for (const { topic, revision } of revisions) {
      // A lower one is news too: a message claimed more than there was, or a backup was restored.
      if (!listeners.has(topic) || seen.get(topic) === Number(revision)) continue;
      seen.set(topic, Number(revision));
      claimed.set(topic, Number(revision));
      await listeners.tell(topic);
    }
  }

  async function heal(): Promise<void> {
    const startedAt = performance.now();
    await takeOver(await options.knex<Revision>('revisions').select('topic', 'revision'));
    lookedAt = Math.max(lookedAt, startedAt);
  }

  async function healBy(connection: pg.Client): Promise<void> {
    const startedAt = performance.now();
    const { rows } = await connection.query<Revision>('select topic, revision from revisions');
    if (unanswered === connection) unanswered = undefined;
    await takeOver(rows);
    lookedAt = Math.max(lookedAt, startedAt);
  }

  /** By the connection that listens, or by the pool while there is none that answers. */
  async function poll(): Promise<void> {
    const listening = client;
    if (listening === undefined || unanswered === listening) {
      // One at a time, or they would pile up before a pool without connections.
      healing ??= heal().finally(() => {
        healing = undefined;
      });
      return healing;
    }
    unanswered = listening;
    try {
      await healBy(listening);
    } catch (error) {
      fault = error;
      // Its end is heard of below.
      void listening.end();
    }
  }

  function received(message: string): void {
    const parsed = changeSchema.safeParse(message);
    if (!parsed.success) {
      doubt(message);
      return;
    }
    const { topic, revision, id } = parsed.data;
    if (!listeners.has(topic)) return;
    // A gap means that a message was lost: then what it named is unknown, and everything of the topic is in doubt.
    // That a poll was there first is none.
    const reached = claimed.get(topic) ?? 0;
    if (revision === reached + 1) claimed.set(topic, revision);
    void listeners.tell(topic, revision <= reached + 1 ? id : undefined);
  }

  /** What was meant is unknown: the revisions say whether anything has changed. One look serves all that come in its time. */
  function doubt(message: string): void {
    const now = performance.now();
    if (now - doubtedAt < POLL_INTERVAL_MS) return;
    doubtedAt = now;
    logger.warn({ length: message.length }, 'a message on the channel of changes was not understood');
    poll().catch(() => undefined);
  }

  function messagesMayBeLost(): void {
    for (const hearer of hearers.values()) hearer(undefined);
  }

  /** Listens first and then looks at the revisions, so that nothing falls between. Where either fails nothing is left open. */
  async function connect(): Promise<void> {
    const next = new pg.Client({
      connectionString: options.url,
      application_name: 'tessera listen',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: ANSWER_TIMEOUT_MS,
      keepAlive: true,
    });
    next.on('notification', ({ channel, payload = '' }) => {
      if (channel === CHANNEL) received(payload);
      else hearers.get(channel)?.(payload);
    });
    next.on('error', (error) => {
      fault = error;
    });
    let isLost = false;
    next.on('end', () => {
      isLost = true;
      if (client !== next) return;
      client = undefined;
      messagesMayBeLost();
      if (isClosed) return;
      logger.warn(
        { err: fault },
        'the connection that listens for changes was lost: they are asked for until it is back',
      );
      reconnectLater();
    });
    try {
      await next.connect();
      for (const channel of [CHANNEL, ...hearers.keys()]) await next.query(`listen ${pg.escapeIdentifier(channel)}`);
      await healBy(next);
      if (isLost || isClosed) throw new Error('the connection that listens for changes ended while it was made');
      client = next;
      fault = undefined;
      messagesMayBeLost();
    } catch (error) {
      await endOf(next);
      throw error;
    }
  }

  function reconnectLater(): void {
    if (isClosed || reconnectTimer !== undefined) return;
    reconnectTimer = setTimeout(() => {
      reconnectTimer = undefined;
      connect().then(
        () => logger.info('the connection that listens for changes is back'),
        (error: unknown) => {
          // The loss was told, and there are four attempts a second.
          logger.debug({ err: error }, 'the connection that listens for changes could not be made');
          reconnectLater();
        },
      );
    }, RECONNECT_DELAY_MS);
  }

  return Object.freeze({
    async start() {
      await connect();
      pollTimer = setInterval(() => poll().catch(() => undefined), POLL_INTERVAL_MS);
      pollTimer.unref();
    },
    subscribe(topic: ChangeTopic, listener: ChangeListener) {
      listeners.add(topic, listener);
    },
    hear(channel: string, listener: MessageListener) {
      hearers.set(channel, listener);
    },
    isListening: () => client !== undefined,
    isCurrent: () => performance.now() - lookedAt < CURRENT_MS,
    failingTopics: faults.topics,
    async close() {
      isClosed = true;
      clearTimeout(reconnectTimer);
      clearInterval(pollTimer);
      if (client !== undefined) await endOf(client);
    },
  });
}

async function endOf(connection: pg.Client): Promise<void> {
  await Promise.race([connection.end(), delay(END_LIMIT_MS, undefined, { ref: false })]);
}
