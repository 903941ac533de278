import type { Knex } from 'knex';
import type { Clock } from '../config/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createAuditBuffer } from './audit-buffer.ts';
import {
  type AuditContext,
  type AuditEvent,
  type AuditEventType,
  auditContextSchema,
  auditEventSchema,
} from './audit-event.ts';
import { type AuditEntry, type AuditRecord, insertAuditEvents, readAuditEvents } from './audit-event-store.ts';

/** The append-only record of security events. An event that does not fit its type is a fault of the caller (ZodError). */
export type Audit = Readonly<{
  /** Durable when it resolves. @throws the database's fault, so that what can't be recorded is not answered either */
  record(event: AuditEvent, context?: AuditContext): Promise<void>;
  /** Recorded if and only if the caller's transaction commits. */
  recordWithin(trx: Knex, event: AuditEvent, context?: AuditContext): Promise<void>;
  /**
   * For what happens with every token: written within 200 ms with all others. Never throws and never waits. Killing the
   * process loses at the most one flush; an event may be recorded twice when the connection is lost with the answer.
   */
  enqueue(event: AuditEvent, context?: AuditContext): void;
  /** Records in the order of their ids: the oldest after `afterId` (for who follows along), else the newest. */
  tail(query: { limit: number; afterId?: string; types?: readonly AuditEventType[] }): Promise<AuditRecord[]>;
  /** Writes what was enqueued before. @throws the database's fault; nothing is lost by it */
  flush(): Promise<void>;
  /** Flushes for the last time; to be called when no request is under way any more and before the database closes. */
  close(): Promise<void>;
  /** Enqueued events that wait, and those dropped since the start because the database was away for too long. */
  counts(): { waiting: number; dropped: number };
}>;

/** Records into the table `audit_events` of one database. */
export function createAudit(dependencies: { knex: Knex; clock: Clock; logger: Logger }): Audit {
  const { knex, clock, logger } = dependencies;
  const buffer = createAuditBuffer<AuditEntry>({ write: (entries) => insertAuditEvents(knex, entries), logger });

  function toEntry(event: AuditEvent, context: AuditContext = {}): AuditEntry {
    return {
      occurredAt: new Date(clock()),
      event: auditEventSchema.parse(event),
      context: auditContextSchema.parse(context),
    };
  }

  return Object.freeze({
    async record(event: AuditEvent, context?: AuditContext) {
      await insertAuditEvents(knex, [toEntry(event, context)]);
    },
    async recordWithin(trx: Knex, event: AuditEvent, context?: AuditContext) {
      await insertAuditEvents(trx, [toEntry(event, context)]);
    },
    enqueue(event: AuditEvent, context?: AuditContext) {
      try {
        buffer.add(toEntry(event, context));
      } catch {
        // Not the error itself: it quotes what did not fit, and that may be what must not be written down.
        logger.error({ type: event.type }, 'an event that does not fit its type was not recorded');
      }
    },
    tail: (query: { limit: number; afterId?: string; types?: readonly AuditEventType[] }) =>
      readAuditEvents(knex, { ...query, now: clock() }),
    flush: buffer.flush,
    close: buffer.close,
    counts: buffer.counts,
  });
}
