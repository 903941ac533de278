/**
 * Owns the record of security events: what may be recorded, the append-only table, the order. Refuses members that it
 * does not know (so that nothing secret slips in), and every change to what was recorded.
 */
export { type Audit, createAudit } from './audit.ts';
export { auditContextOf } from './audit-context.ts';
export {
  AUDIT_EVENT_TYPES,
  type AuditActor,
  type AuditContext,
  type AuditEvent,
  type AuditEventType,
} from './audit-event.ts';
export type { AuditRecord } from './audit-event-store.ts';
