import { randomBytes } from 'node:crypto';
import { closeSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { openPlainFile, writePrivateFile } from '../private-files.ts';
import { judgeRelocation } from './cluster-place.ts';
import { embeddedFault, errorCode } from './embedded-fault.ts';

const recordSchema = z.object({
  /** Safe in a URL and in a password file. */
  password: z.string().regex(/^[\w-]+$/),
  /** The port of the last start, taken again when it is free. */
  port: z.int().min(1).max(65_535).optional(),
  /** Absolute path of the cluster where the database user can't reach DATA_DIR; else it is `<DATA_DIR>/postgres`. */
  relocatedTo: z.string().refine(isAbsolute).optional(),
});

/** What is remembered of the cluster, in `<DATA_DIR>/postgres.json` (mode 600). */
export type ClusterRecord = Readonly<z.infer<typeof recordSchema>>;

/** The superuser and the database, which have the same name. */
export const DATABASE_NAME = 'tessera';

/**
 * Undefined before the first start.
 *
 * @throws AppError where it is not what was written there, or a relocation that root must not follow. The content is not
 *   repeated: it may be that of another file
 */
export function readClusterRecord(dataDirectory: string): ClusterRecord | undefined {
  const path = recordPath(dataDirectory);
  let content: string;
  try {
    content = readAlone(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const record = parse(content);
  if (record === undefined) throw embeddedFault(`${path} is not what was written there; restore it`);
  const verdict = record.relocatedTo === undefined ? 'followed' : judgeRelocation(record.relocatedTo, dataDirectory);
  if (verdict === 'refused') {
    throw embeddedFault(`${path} names ${record.relocatedTo}, which was not made for it by root; restore it`);
  }
  return verdict === 'gone' ? { ...record, relocatedTo: undefined } : record;
}

function readAlone(path: string): string {
  const file = openPlainFile(path);
  try {
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

function parse(content: string): ClusterRecord | undefined {
  try {
    return recordSchema.safeParse(JSON.parse(content)).data;
  } catch {
    return undefined;
  }
}

/** Replaces the record at once. */
export function writeClusterRecord(dataDirectory: string, record: ClusterRecord): void {
  writePrivateFile(recordPath(dataDirectory), `${JSON.stringify(record, null, 2)}\n`);
}

/** A password of 256 bits, safe in a URL and in a password file. */
export function randomPassword(): string {
  return randomBytes(32).toString('base64url');
}

/** The connection URL. It holds the password: never log it. */
export function databaseUrl(record: ClusterRecord): string {
  return `postgres://${DATABASE_NAME}:${record.password}@127.0.0.1:${record.port}/${DATABASE_NAME}`;
}

function recordPath(dataDirectory: string): string {
  return join(dataDirectory, 'postgres.json');
}
