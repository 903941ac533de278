import { readFile } from 'node:fs/promises';
import { AppError } from '../errors.ts';

/** Far above any secret or set of metadata; ends the reading of what can be neither. */
const MAX_BYTES = 1_048_576;

/** Why a file can't be read, by the code of the system's error. */
const FILE_FAULTS: Readonly<Record<string, string>> = {
  EACCES: 'permission is denied',
  EISDIR: 'it is a folder',
  ENOENT: 'there is no such file',
};

/**
 * A secret from standard input, without the line end that `echo` adds.
 *
 * @param what names it in the fault
 */
export async function readSecret(what: string): Promise<string> {
  const secret = (await readStandardInput(what)).replace(/\r?\n$/, '');
  if (secret === '') throw new AppError({ code: 'invalid_request', message: `${what}: standard input is empty` });
  return secret;
}

/** A JSON object from a file, or from standard input where the path is `-`. */
export async function readJsonObject(path: string): Promise<Record<string, unknown>> {
  const text = await readText(path, '--metadata');
  const fault = (reason: string) => new AppError({ code: 'invalid_request', message: `--metadata ${path}: ${reason}` });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Not the parser's own message: it quotes the text, and a secret may have been put there by mistake.
    throw fault('is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fault('wants a JSON object');
  return value as Record<string, unknown>;
}

/**
 * Text from a file, or from standard input where the path is `-`.
 *
 * @param what names standard input in the fault
 */
export async function readText(path: string, what: string): Promise<string> {
  return path === '-' ? readStandardInput(what) : readTextFile(path);
}

async function readTextFile(path: string): Promise<string> {
  try {
    return decode(await readFile(path), path);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    const reason = FILE_FAULTS[(cause as NodeJS.ErrnoException).code ?? ''];
    const message = `${path} can't be read${reason === undefined ? '' : `: ${reason}`}`;
    throw new AppError({ code: 'invalid_request', message, cause });
  }
}

async function readStandardInput(what: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_BYTES)
      throw new AppError({ code: 'payload_too_large', message: `${what}: is over ${MAX_BYTES} bytes` });
  }
  return decode(Buffer.concat(chunks), what);
}

function decode(bytes: Buffer, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new AppError({ code: 'invalid_request', message: `${what}: is not UTF-8 text`, cause });
  }
}
