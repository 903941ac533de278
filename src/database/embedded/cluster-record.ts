import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writePrivateFile } from '../private-files.ts';
import { errorCode } from './embedded-fault.ts';

/** What is remembered of the cluster, in `<DATA_DIR>/postgres.json` (mode 600). */
export type ClusterRecord = Readonly<{
  password: string;
  /** The port of the last start, taken again when it is free. */
  port?: number | undefined;
  /** Absolute path of the cluster where the database user can't reach DATA_DIR; else it is `<DATA_DIR>/postgres`. */
  relocatedTo?: string | undefined;
}>;

/** The superuser and the database, which have the same name. */
export const DATABASE_NAME = 'tessera';

/** Undefined before the first start. */
export function readClusterRecord(dataDirectory: string): ClusterRecord | undefined {
  try {
    return JSON.parse(readFileSync(recordPath(dataDirectory), 'utf8'));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
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
