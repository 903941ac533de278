import { cpus, totalmem } from 'node:os';
import type { Row } from './comparisons.ts';
import { passes } from './statistics.ts';

const GIB = 2 ** 30;

/** Whether a row reached its goal, and every answer was what it must be. */
export function succeeds(row: Row): boolean {
  return row.failures === 0 && row.objection === undefined && passes(row);
}

/** What the figures were made on. @param postgres its version and settings */
export function describeMachine(postgres: string): string {
  const [core] = cpus();
  return `${cpus().length} cores (${core?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / GIB)} GiB, Node ${process.version}, ${postgres}`;
}

const HEADINGS = ['what', 'ours', 'peer', 'ratio [95 %]', 'goal', ''];

function cells(row: Row): string[] {
  const [ratio, low, high] = [row.ratio, row.low, row.high].map((value) => value.toFixed(2));
  return [
    row.row,
    row.ours,
    row.peer,
    `${ratio} [${low}, ${high}]`,
    `${row.atMost ? '≤' : '≥'} ${row.goal}`,
    verdictOn(row),
  ];
}

function verdictOn(row: Row): string {
  if (succeeds(row)) return 'pass';
  if (row.failures > 0) return `FAIL: ${row.failures} wrong answers`;
  return row.objection === undefined ? 'FAIL' : `FAIL: ${row.objection}`;
}

/** The rows in columns, for a terminal. */
export function toTable(rows: readonly Row[]): string {
  const lines = [HEADINGS, ...rows.map(cells)];
  const widths = HEADINGS.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The same for docs/performance.md. */
export function toMarkdown(rows: readonly Row[]): string {
  const line = (texts: readonly string[]) => `| ${texts.join(' | ')} |`;
  return [line(HEADINGS), line(HEADINGS.map(() => '---')), ...rows.map((row) => line(cells(row)))].join('\n');
}

const PLACE = /(?<=<!-- figures -->\n).*(?=\n<!-- \/figures -->)/s;

/** Puts the figures in their place in a document. @returns the figures alone where there is no document, or no place in it */
export function intoDocument(document: string | undefined, figures: string): string {
  if (document === undefined || !PLACE.test(document)) return `${figures}\n`;
  return document.replace(PLACE, () => figures);
}

/** One object per row, for programs. */
export function toJson(rows: readonly Row[]): string {
  const verdicts = rows.map(({ row, ratio, low, high, goal, atMost }) => ({ row, ratio, low, high, goal, atMost }));
  return `${JSON.stringify(verdicts, null, 2)}\n`;
}
