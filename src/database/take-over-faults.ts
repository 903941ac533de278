import type { Logger } from '../telemetry/index.ts';

/** Between two lines on one topic, in milliseconds: what fails is tried again by every poll, three times a second. */
const REPEAT_MS = 30_000;

/** What could not be taken over of the changes on other nodes, by topic. */
type TakeOverFaults = Readonly<{
  failed(topic: string, error: unknown): void;
  /** All that there was to take over of the topic has been. */
  succeeded(topic: string): void;
  /** Those that failed last. */
  topics(): readonly string[];
}>;

/**
 * Logs when it begins that a topic can't be taken over, at most every 30 s while it lasts, and when it is over.
 *
 * @param options.now milliseconds, on a clock that nobody sets
 */
export function createTakeOverFaults(options: { logger: Logger; now(): number }): TakeOverFaults {
  const { logger, now } = options;
  const faults = new Map<string, { failures: number; toldAt: number }>();
  return Object.freeze({
    failed(topic: string, error: unknown) {
      const fault = faults.get(topic) ?? { failures: 0, toldAt: Number.NEGATIVE_INFINITY };
      faults.set(topic, fault);
      fault.failures += 1;
      if (now() - fault.toldAt < REPEAT_MS) return;
      fault.toldAt = now();
      const { failures } = fault;
      logger.error({ err: error, topic, failures }, 'a change could not be taken over; each poll tries again');
    },
    succeeded(topic: string) {
      if (faults.delete(topic)) logger.info({ topic }, 'changes are taken over again');
    },
    topics: () => [...faults.keys()],
  });
}
