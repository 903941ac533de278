import type { Command } from 'commander';

/** What a command answers: for programs with `--json`, else for people. */
export type Answer = { json: unknown; text: string };

/** Prints the answer of a command. */
export function printAnswer(command: Command, answer: Answer): void {
  process.stdout.write(`${isJsonWanted(command) ? JSON.stringify(answer.json) : answer.text}\n`);
}

export function isJsonWanted(command: Command): boolean {
  return command.optsWithGlobals<{ json?: boolean }>().json === true;
}

/** One line per member, for people. */
export function toLines(record: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(record).filter(([, value]) => value !== undefined);
  const width = Math.max(0, ...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${toWords(value)}`).join('\n');
}

/** One line per record, below a line of names, for people. */
export function toTable(names: readonly string[], records: readonly Readonly<Record<string, unknown>>[]): string {
  if (records.length === 0) return 'none';
  const rows = [
    names.map((name) => name.toUpperCase()),
    ...records.map((it) => names.map((name) => toWords(it[name]))),
  ];
  const widths = names.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function toWords(value: unknown): string {
  if (value === undefined || value === null) return '-';
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.map(toWords).join(' ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
