import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { type ArtifactRow, encodeArtifact } from '../src/tokens/index.ts';
import type { SeededArtifact } from './seeded-artifacts.ts';

const COLUMNS = [
  'id',
  'kind',
  'payload',
  'sealed',
  'grant_id',
  'session_uid',
  'user_code_hash',
  'client_id',
  'account_id',
  'consumed_at',
  'expires_at',
  'purge_at',
] as const;

/** Rows that are handed to the stream at once. */
const CHUNK = 1_000;

/** An artifact and the moment (epoch ms) at which it is issued. */
export type Issued = { artifact: SeededArtifact; at: number };

/** What is loaded bears no value that would be sealed. */
const keys = { sealer: { seal: refuse, unseal: refuse }, userCodeKey: () => new Uint8Array(32) };

function refuse(): never {
  throw new Error('an artifact that is loaded in bulk must have nothing to seal');
}

/**
 * Loads artifacts by COPY, as rows exactly like the store's own. The indexes are made afterwards, which takes a fraction of
 * the time and leaves them as dense as they get; then the planner learns of the table, and nothing is left to write.
 */
export async function loadArtifacts(connection: pg.Client, artifacts: Iterable<Issued>): Promise<void> {
  await connection.query("set maintenance_work_mem = '1GB'");
  const { rows: indexes } = await connection.query<{ indexname: string; indexdef: string }>(
    "select indexname, indexdef from pg_indexes where tablename = 'artifacts' and indexname <> 'artifacts_pkey'",
  );
  for (const { indexname } of indexes) await connection.query(`drop index ${indexname}`);
  await connection.query('alter table artifacts drop constraint artifacts_pkey');
  await pipeline(
    Readable.from(copyChunks(artifacts)),
    connection.query(copyFrom(`copy artifacts (${COLUMNS.join(', ')}) from stdin`)),
  );
  await connection.query('alter table artifacts add primary key (id)');
  for (const { indexdef } of indexes) await connection.query(indexdef);
  await connection.query('vacuum analyze artifacts');
  await connection.query('checkpoint');
}

function* copyChunks(artifacts: Iterable<Issued>): Generator<Buffer> {
  let lines: string[] = [];
  for (const { artifact, at } of artifacts) {
    lines.push(toCopyLine(encodeArtifact(artifact, keys, at)));
    if (lines.length < CHUNK) continue;
    yield Buffer.from(lines.join(''));
    lines = [];
  }
  yield Buffer.from(lines.join(''));
}

/** The text format of COPY (PostgreSQL, `COPY`, File Formats). */
function toCopyLine(row: ArtifactRow): string {
  const values = [
    bytes(row.id),
    row.kind,
    row.payload,
    row.sealed,
    row.grantId,
    row.sessionUid,
    row.userCodeHash && bytes(row.userCodeHash),
    row.clientId,
    row.accountId,
    row.consumedAt,
    row.expiresAt,
    row.purgeAt,
  ];
  return `${values.map((value) => (value === undefined ? '\\N' : escapeText(value))).join('\t')}\n`;
}

function bytes(value: Buffer): string {
  return `\\x${value.toString('hex')}`;
}

function escapeText(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\t', '\\t');
}
