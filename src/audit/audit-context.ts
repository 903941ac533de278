import type { IncomingMessage } from 'node:http';
import { outcomeOf } from '../telemetry/index.ts';
import type { AuditContext } from './audit-event.ts';

/** Where an event came from that a request has caused. @param request.ip the address of the client */
export function auditContextOf(request: { req: IncomingMessage; ip: string }): AuditContext {
  return { requestId: outcomeOf(request.req).requestId, address: request.ip };
}
