import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { AUDIT_EVENT_TYPES, type AuditEventType, type AuditRecord } from '../audit/index.ts';
import type { Domains } from '../compose/index.ts';
import { isJsonWanted, printAnswer } from './answer.ts';
import { addCommandGroup } from './command-group.ts';
import { withDomains } from './open-domains.ts';
import { repeatable, wholeNumber } from './option-values.ts';

type TailFlags = { limit: number; type?: string[]; follow?: boolean };

const DEFAULT_LIMIT = 20;
const FOLLOW_INTERVAL_MS = 500;
/** Events that are read at once while following. */
const FOLLOW_BATCH = 500;

export function addAuditCommands(program: Command): void {
  const audit = addCommandGroup(program, 'audit', 'the record of security events');

  audit
    .command('tail')
    .description('show the newest events, by their times, oldest first')
    .option('--limit <number>', 'how many', wholeNumber, DEFAULT_LIMIT)
    .option(
      '--type <type>',
      'of this type alone, such as client.created, or client for all of them (repeatable)',
      repeatable,
    )
    .option('--follow', 'go on with what happens next, until interrupted; with --json one value per line')
    .action(async ({ limit, type, follow }: TailFlags, command: Command) => {
      const types = type?.flatMap((given) => matchingTypes(given, command));
      const print = (records: AuditRecord[]) =>
        printAnswer(command, {
          json: inOrderOfTime(records).map(present),
          text: inOrderOfTime(records).map(toLine).join('\n') || 'none',
        });
      await withDomains(async ({ audit: trail }) => {
        const newest = await trail.tail({ limit, ...(types && { types }) });
        if (follow !== true) return print(newest);
        printEach(command, newest);
        return followAudit(trail, { after: newest.at(-1)?.id ?? '0', types, print: (it) => printEach(command, it) });
      });
    });
}

/** Prints what is recorded after a record, until the process is told to end. */
async function followAudit(
  trail: Domains['audit'],
  options: { after: string; types: AuditEventType[] | undefined; print(records: AuditRecord[]): void },
): Promise<void> {
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort());
  let afterId = options.after;
  while (!ending.signal.aborted) {
    const next = await trail.tail({ limit: FOLLOW_BATCH, afterId, ...(options.types && { types: options.types }) });
    options.print(next);
    afterId = next.at(-1)?.id ?? afterId;
    if (next.length < FOLLOW_BATCH) await delay(FOLLOW_INTERVAL_MS, undefined, ending).catch(() => undefined);
  }
}

function printEach(command: Command, records: readonly AuditRecord[]): void {
  const isJson = isJsonWanted(command);
  for (const it of inOrderOfTime(records))
    process.stdout.write(`${isJson ? JSON.stringify(present(it)) : toLine(it)}\n`);
}

/**
 * By their times, and by their ids where those are equal: what happens with every token is written in batches, after
 * what has happened since, so that ids alone would tell some consequences before their causes.
 */
function inOrderOfTime(records: readonly AuditRecord[]): AuditRecord[] {
  // They come in the order of their ids, which a stable sort keeps.
  return records.toSorted((one, other) => one.occurredAt.getTime() - other.occurredAt.getTime());
}

function matchingTypes(given: string, command: Command): AuditEventType[] {
  const matching = AUDIT_EVENT_TYPES.filter((type) => type === given || type.startsWith(`${given}.`));
  if (matching.length > 0) return matching;
  return command.error(`error: --type ${given} is none of ${AUDIT_EVENT_TYPES.join(', ')}`);
}

function present(record: AuditRecord) {
  return {
    id: record.id,
    occurred_at: record.occurredAt,
    type: record.type,
    account_id: record.accountId,
    client_id: record.clientId,
    actor: record.actor,
    request_id: record.requestId,
    address: record.address,
    details: record.details,
  };
}

function toLine(record: AuditRecord): string {
  const { actor, details } = record;
  const members = {
    account: record.accountId,
    client: record.clientId,
    ...details,
    actor: actor && ('id' in actor ? `${actor.kind}:${actor.id}` : actor.kind),
    request: record.requestId,
    address: record.address,
  };
  const words = Object.entries(members)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return [record.occurredAt.toISOString(), record.type, ...words].join('  ');
}
