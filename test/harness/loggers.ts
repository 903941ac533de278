import { pino } from 'pino';
import type { Logger } from '../../src/telemetry/index.ts';

export const silentLogger = pino({ level: 'silent' });

/** A logger that keeps its lines for a test to read. */
export function recordingLogger(): { logger: Logger; lines: Record<string, unknown>[]; text(): string } {
  const written: string[] = [];
  const lines: Record<string, unknown>[] = [];
  const logger = pino(
    { level: 'trace', base: null },
    {
      write(line: string) {
        written.push(line);
        lines.push(JSON.parse(line) as Record<string, unknown>);
      },
    },
  );
  return { logger, lines, text: () => written.join('') };
}
