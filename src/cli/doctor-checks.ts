import type { Knex } from 'knex';
import { createAudit } from '../audit/index.ts';
import type { OpenedDatabase } from '../compose/index.ts';
import { type Config, systemClock } from '../config/index.ts';
import { databaseTime, migrationStatus, openDatabase, ping, serverVersion } from '../database/index.ts';
import { openServerSecrets } from '../keys/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { toFaultLine } from './fault-line.ts';

/** `mend` says what to do, where something is to be done. */
export type Finding = { check: string; ok: boolean; found: string; mend?: string };

/** Tokens that another node has issued are taken from 15 s in the future at the most; some room must be left. */
const MAX_CLOCK_DIFFERENCE_MS = 5_000;

/** The server that answers, also on the direct connection where that is another one. */
export async function checkServer({ database, directUrl }: OpenedDatabase, logger: Logger): Promise<Finding> {
  const found = `PostgreSQL ${await serverVersion(database.knex)}`;
  if (directUrl === database.url) return { check: 'database', ok: true, found };
  const direct = openDatabase({ url: directUrl, poolSize: 2, logger });
  try {
    await ping(direct);
    return { check: 'database', ok: true, found: `${found}, reached directly too` };
  } catch (error) {
    const mend = 'correct DATABASE_DIRECT_URL: it wants the same database, reached past the pooler';
    return { check: 'database', ok: false, found: `directly: ${toFaultLine(error)}`, mend };
  } finally {
    await direct.close();
  }
}

/** The clock here against the one of the database. */
export async function checkClock(knex: Knex): Promise<Finding> {
  const sentAt = Date.now();
  const there = (await databaseTime(knex)).getTime();
  const here = (sentAt + Date.now()) / 2;
  const differenceMs = Math.round(here - there);
  const found = `${Math.abs(differenceMs)} ms ${differenceMs < 0 ? 'behind' : 'ahead of'} the database`;
  if (Math.abs(differenceMs) < MAX_CLOCK_DIFFERENCE_MS) return { check: 'clock', ok: true, found };
  return { check: 'clock', ok: false, found, mend: 'set both clocks by NTP: tokens expire too early or too late' };
}

/** Whoever renews certificates does it earlier than this: if one has not been, something is amiss. */
const SOON_MS = 14 * 24 * 60 * 60 * 1_000;

/** The certificate with which the server speaks TLS; nothing to find where it doesn't. */
export async function checkTls(config: Config): Promise<Finding[]> {
  const check = 'tls';
  try {
    const { readOwnTlsFiles } = await import('../compose/index.ts');
    const files = await readOwnTlsFiles(config, systemClock);
    if (files === undefined) return [];
    const { subject, validUntil } = files;
    const leftMs = validUntil.getTime() - systemClock();
    const found = `certificate ${subject}, valid until ${validUntil.toISOString()}`;
    if (leftMs >= SOON_MS) return [{ check, ok: true, found }];
    // No fault: there are certificates that never live for longer.
    const days = Math.floor(leftMs / (24 * 60 * 60 * 1_000));
    const mend = 'see that TLS_CERT_FILE and TLS_KEY_FILE are renewed: the server takes them over by itself';
    return [{ check, ok: true, found: `${found}: less than ${days + 1} day(s) are left`, mend }];
  } catch (error) {
    const mend =
      'give readable PEM files that belong together; the server goes on with the ones before until it is restarted';
    return [{ check, ok: false, found: toFaultLine(error), mend }];
  }
}

export async function checkMigrations(config: Config, knex: Knex): Promise<{ finding: Finding; isUpToDate: boolean }> {
  const check = 'migrations';
  try {
    const { applied, pending } = await migrationStatus(knex);
    const isUpToDate = pending.length === 0;
    const found = `${applied.length} applied, ${isUpToDate ? 'none' : pending.length} pending`;
    if (isUpToDate) return { isUpToDate, finding: { check, ok: true, found } };
    if (!config.isProduction)
      return { isUpToDate, finding: { check, ok: true, found: `${found}: the next start applies them` } };
    return { isUpToDate, finding: { check, ok: false, found, mend: 'run "tessera migrate up" before the server' } };
  } catch (error) {
    const mend = 'let the user of DATABASE_URL read and create tables in its schema';
    return { isUpToDate: false, finding: { check, ok: false, found: toFaultLine(error), mend } };
  }
}

/** Whether what is sealed opens with the key-encryption key that was given. */
export async function checkKeys(config: Config, { knex, logger }: { knex: Knex; logger: Logger }): Promise<Finding> {
  const mend =
    'give the KEY_ENCRYPTION_KEY or VAULT_* that its keys are sealed under; restore from a backup what was altered or lost';
  try {
    const { composeKeys } = await import('../compose/index.ts');
    const audit = createAudit({ knex, clock: systemClock, logger });
    const { keyWrapper: wrapper, signingKeys } = await composeKeys(config, { knex, audit, isCommand: true });
    const count = (await signingKeys.load()).privateJwks.length;
    if (count === 0) return { check: 'keys', ok: true, found: 'none yet: the first start makes them' };
    await openServerSecrets({ knex, wrapper });
    return { check: 'keys', ok: true, found: `${count} signing keys and the server's secrets open` };
  } catch (error) {
    return { check: 'keys', ok: false, found: toFaultLine(error), mend };
  }
}
