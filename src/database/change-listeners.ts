import { setTimeout as delay } from 'node:timers/promises';

/** `id` is what changed; absent: anything of the topic may have. */
export type ChangeListener = (id?: string) => void | Promise<void>;

/** Who is told of changes, by topic. */
type ChangeListeners = Readonly<{
  add(topic: string, listener: ChangeListener): void;
  has(topic: string): boolean;
  /** Resolves when all that waits to be told of the topic has been. */
  tell(topic: string, id?: string): Promise<void>;
}>;

/** What waits to be told of one topic by name; of more, everything is in doubt. Nobody changes so much by hand. */
const MAX_WAITING_IDS = 100;

/** What is still to be told of a topic; undefined among it: that anything may have changed. */
type Telling = { waiting: Set<string | undefined>; done: Promise<void>; isRunning: boolean };

/**
 * @param options.patienceMs how long one that hangs holds up what comes after it
 * @param options.succeeded all that there was to take over of the topic has been
 */
export function createChangeListeners(options: {
  patienceMs: number;
  failed(topic: string, error: unknown): void;
  succeeded(topic: string): void;
}): ChangeListeners {
  const { patienceMs } = options;
  const listeners = new Map<string, ChangeListener[]>();
  const telling = new Map<string, Telling>();

  /** One at a time of each topic. What comes meanwhile gathers, so that a flood of messages is no flood of work. */
  function tell(topic: string, id?: string): Promise<void> {
    const current = telling.get(topic) ?? { waiting: new Set(), done: Promise.resolve(), isRunning: false };
    telling.set(topic, current);
    if (current.waiting.size >= MAX_WAITING_IDS) current.waiting = new Set([undefined]);
    // Who is told that anything may have changed need not be told what.
    if (id === undefined) current.waiting = new Set([undefined]);
    else if (!current.waiting.has(undefined)) current.waiting.add(id);
    if (!current.isRunning) {
      current.isRunning = true;
      current.done = tellAll(topic, current);
    }
    return current.done;
  }

  async function tellAll(topic: string, current: Telling): Promise<void> {
    const hanging = new Set<Promise<void>>();
    while (current.waiting.size > 0) {
      const ids = current.waiting;
      current.waiting = new Set();
      for (const id of ids) {
        // One that hangs, because a key can't be opened for the moment, must not hold up what is urgent.
        const told: Promise<void> = tellOne(topic, id).finally(() => hanging.delete(told));
        hanging.add(told);
        await Promise.race([told, delay(patienceMs, undefined, { ref: false })]);
      }
    }
    current.isRunning = false;
    await Promise.all(hanging);
  }

  async function tellOne(topic: string, id: string | undefined): Promise<void> {
    let isTakenOver = true;
    for (const listener of listeners.get(topic) ?? []) {
      try {
        await listener(id);
      } catch (error) {
        isTakenOver = false;
        options.failed(topic, error);
      }
    }
    // Who took over one change alone may still lack another.
    if (isTakenOver && id === undefined) options.succeeded(topic);
  }

  return Object.freeze({
    add(topic: string, listener: ChangeListener) {
      listeners.set(topic, [...(listeners.get(topic) ?? []), listener]);
    },
    has: (topic: string) => listeners.has(topic),
    tell,
  });
}
