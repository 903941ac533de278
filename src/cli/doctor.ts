import type { Command } from 'commander';
import type { OpenedDatabase } from '../compose/index.ts';
import { type Config, loadConfig } from '../config/index.ts';
import { AppError } from '../errors.ts';
import { printAnswer } from './answer.ts';
import { checkClock, checkKeys, checkMigrations, checkServer, checkTls, type Finding } from './doctor-checks.ts';
import { toFaultLine } from './fault-line.ts';
import { commandLogger } from './open-domains.ts';

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('check configuration, TLS files, database, clock and keys, and say how to mend each fault')
    .action(async (_: object, command: Command) => {
      const findings = await examine();
      const faults = findings.filter(({ ok }) => !ok);
      printAnswer(command, {
        json: { ok: faults.length === 0, checks: findings },
        text: findings.map(toText).join('\n'),
      });
      if (faults.length === 0) return;
      const names = [...new Set(faults.map(({ check }) => check))].join(', ');
      throw new AppError({ code: 'configuration', message: `${faults.length} fault(s) found: ${names}` });
    });
}

/** Looks at one thing after the other; what lies behind a fault can't be looked at. */
async function examine(): Promise<Finding[]> {
  let config: Config;
  try {
    config = loadConfig(process.env);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const mend = 'set the variable as told; .env.example lists all of them';
    return error.message.split('\n').map((line) => ({ check: 'configuration', ok: false, found: line, mend }));
  }
  const sound: Finding = { check: 'configuration', ok: true, found: `${config.environment}, issuer ${config.issuer}` };
  return [sound, ...(await checkTls(config)), ...(await examineDatabase(config))];
}

async function examineDatabase(config: Config): Promise<Finding[]> {
  const logger = commandLogger(config);
  const { openEnvironmentDatabase } = await import('../compose/index.ts');
  let opened: OpenedDatabase;
  try {
    opened = await openEnvironmentDatabase(config, logger);
  } catch (error) {
    const mend =
      config.database.url === undefined
        ? 'see to DATA_DIR, or set DATABASE_URL to a PostgreSQL of your own'
        : 'start PostgreSQL, or correct DATABASE_URL';
    return [{ check: 'database', ok: false, found: toFaultLine(error), mend }];
  }
  try {
    const { knex } = opened.database;
    const { finding, isUpToDate } = await checkMigrations(config, knex);
    const findings = [await checkServer(opened, logger), await checkClock(knex), finding];
    // Before the last migration the keys may stand in tables that this version can't read.
    return isUpToDate ? [...findings, await checkKeys(config, { knex, logger })] : findings;
  } finally {
    await opened.close();
  }
}

function toText({ check, ok, found, mend }: Finding): string {
  const line = `${ok ? 'ok   ' : 'FAULT'}  ${check.padEnd(13)}  ${found}`;
  return mend === undefined ? line : `${line}\n${' '.repeat(22)}to mend it: ${mend}`;
}
