/** What a document shows a reader: commands, what they print, and files. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { NODE_COMPILE_CACHE } from './compile-cache.ts';
import { CHECKOUT } from './process.ts';

/** Marks commands that are run. */
export const RUNS = 'runs';
/** Followed by a file's name, marks what is saved in it. */
export const SAVED = 'saved as ';

/** A fenced block: `mark` is what the comment above it says, `output` the block below that shows what it prints. */
export type Block = { mark: string; language: string; body: string; output: string };

/** @param path within the checkout */
export function readDocument(path: string): string {
  return readFileSync(join(CHECKOUT, path), 'utf8');
}

/** The fenced blocks of a document. */
export function blocksIn(markdown: string): Block[] {
  const fences = [...markdown.matchAll(/(?:<!-- ([^\n]+) -->\n)?```(\w+)\n(.*?)\n```\n/gs)];
  return fences.map(([, mark = '', language = '', body = ''], index) => {
    const next = fences[index + 1];
    const isOutput = next !== undefined && next[1] === undefined && /^(text|json)$/.test(next[2] ?? '');
    return { mark, language, body, output: isOutput ? (next[3] ?? '') : '' };
  });
}

/** What is shown, where `…` stands for anything within a line. */
export function pattern(shown: string): RegExp {
  const literal = shown.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  return new RegExp(`^${literal.replaceAll('…', '.+?')}$`);
}

/**
 * Runs shell blocks one after the other in one bash, so that variables stay; what they left in the background ends with the
 * last one. `npx` is that of the checkout, wherever it is called.
 *
 * @returns what each has printed
 */
export async function runInOrder(
  blocks: readonly string[],
  options: { folder: string; environment: Record<string, string> },
): Promise<string[]> {
  const end = '--- end of block ---';
  const script = [
    'set -euo pipefail',
    'npx() { (cd "$CHECKOUT" && command npx "$@"); }',
    `trap 'kill $(jobs -p) 2>/dev/null || true' EXIT`,
  ];
  for (const block of blocks) script.push(block, `printf '%s' '${end}'`);
  const bash = spawn('bash', ['-c', script.join('\n')], {
    cwd: options.folder,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, CHECKOUT, NODE_COMPILE_CACHE, ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    bash.once('error', reject);
    bash.once('close', resolve);
  });
  const [output, faults, exitCode] = await Promise.all([text(bash.stdout), text(bash.stderr), ended]);
  if (exitCode !== 0) throw new Error(`bash ended with ${exitCode}: ${faults}\nafter: ${output}`);
  return output
    .split(end)
    .slice(0, blocks.length)
    .map((printed) => printed.trimEnd());
}
