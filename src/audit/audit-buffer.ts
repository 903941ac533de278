import { isDatabaseUnavailable, oneAtATime } from '../database/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** How long an event may wait: what a node that is killed may lose, while a busy one writes five times a second only. */
const FLUSH_INTERVAL_MS = 200;
/** Events per statement: with more the statement grows and the cost of an event no longer falls. */
const BATCH_SIZE = 500;
/** While the database is away hardly anything is issued, so this holds what happened until that was noticed; some 10 MB. */
const CAPACITY = 20_000;
/** How soon a flush is tried again after the database was away. */
const RETRY_INTERVAL_MS = 1_000;

/** Entries that wait to be written together, in order. */
export type AuditBuffer<Entry> = Readonly<{
  /** Never throws and never waits. When the buffer is full the entry is dropped, counted and said in the log. */
  add(entry: Entry): void;
  /** Writes what was added before. @throws the database's fault; what was not written stays */
  flush(): Promise<void>;
  /** Writes what was added before, once; what can't be written then is lost and said in the log. */
  close(): Promise<void>;
  /** Entries that wait, and entries that were dropped since the start. */
  counts(): { waiting: number; dropped: number };
}>;

/**
 * Written at least once: a batch whose answer is lost with its connection is written again. A process that is killed
 * loses what the buffer holds: at the most one flush while the database is there.
 */
export function createAuditBuffer<Entry>(dependencies: {
  write: (entries: readonly Entry[]) => Promise<void>;
  logger: Logger;
}): AuditBuffer<Entry> {
  const { write, logger } = dependencies;
  let waiting: Entry[] = [];
  let dropped = 0;
  let reportedDropped = 0;
  let isClosed = false;
  let isAway = false;
  let isWriting = false;
  let timer: NodeJS.Timeout | undefined;
  const flush = oneAtATime(writeAll);

  function add(entry: Entry): void {
    if (isClosed || waiting.length >= CAPACITY) {
      drop(1);
      return;
    }
    waiting.push(entry);
    if (waiting.length >= BATCH_SIZE && !isAway && !isWriting) void flush().catch(() => undefined);
    else wakeUp(isAway ? RETRY_INTERVAL_MS : FLUSH_INTERVAL_MS);
  }

  function wakeUp(delayMs: number): void {
    if (isClosed || timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      void flush().catch(() => undefined);
    }, delayMs);
    timer.unref();
  }

  function drop(count: number): void {
    dropped += count;
    // One line for a flood: the first of it at once, the rest when the next flush has been tried.
    if (reportedDropped === 0) reportDropped();
  }

  function reportDropped(): void {
    if (dropped === reportedDropped) return;
    logger.error({ dropped: dropped - reportedDropped, total: dropped }, 'audit events were dropped');
    reportedDropped = dropped;
  }

  async function writeAll(): Promise<void> {
    isWriting = true;
    let left = waiting.length;
    try {
      while (left > 0) {
        const batch = waiting.slice(0, Math.min(left, BATCH_SIZE));
        await writeBatch(batch);
        waiting = waiting.slice(batch.length);
        left -= batch.length;
        isAway = false;
      }
    } catch (error) {
      if (!isAway) logger.warn({ err: error, waiting: waiting.length }, 'audit events wait for the database');
      isAway = true;
      throw error;
    } finally {
      isWriting = false;
      reportDropped();
      if (waiting.length > 0) wakeUp(isAway ? RETRY_INTERVAL_MS : FLUSH_INTERVAL_MS);
    }
  }

  async function writeBatch(batch: readonly Entry[]): Promise<void> {
    try {
      await write(batch);
    } catch (error) {
      if (isDatabaseUnavailable(error)) throw error;
      await writeOneByOne(batch);
    }
  }

  /** An entry that PostgreSQL refuses must hold up neither its neighbours nor those behind it. */
  async function writeOneByOne(batch: readonly Entry[]): Promise<void> {
    for (const entry of batch) {
      try {
        await write([entry]);
      } catch (error) {
        if (isDatabaseUnavailable(error)) throw error;
        logger.error({ err: error }, 'an audit event was refused by the database');
        drop(1);
      }
    }
  }

  async function close(): Promise<void> {
    isClosed = true;
    clearTimeout(timer);
    await flush().catch(() => undefined);
    drop(waiting.length);
    waiting = [];
    reportDropped();
  }

  return Object.freeze({ add, flush, close, counts: () => ({ waiting: waiting.length, dropped }) });
}
