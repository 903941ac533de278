import type { Clients } from '../clients/index.ts';
import type { Config } from '../config/index.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../telemetry/index.ts';
import { demoClients } from './demo-data.ts';
import { type DemoDataRegistries, demoDataFaults } from './demo-data-faults.ts';
import { type DemoRegistries, seedDemoData } from './seed-demo-data.ts';

/**
 * Demo data are for a developer's own machine, where they are made at every start. Their passwords are known to everybody:
 * production does not start on a database that has them, and a database with data of its own never gets them.
 *
 * @throws {AppError} `configuration` in production, with one line for each part of them that is there
 */
export async function settleDemoData(
  config: Pick<Config, 'environment' | 'isProduction' | 'isLocal' | 'issuer' | 'database'>,
  registries: DemoRegistries & DemoDataRegistries & Listing & { logger: Logger },
): Promise<void> {
  const { logger } = registries;
  if (config.isProduction) {
    const faults = await demoDataFaults(registries);
    if (faults.length > 0) throw new AppError({ code: 'configuration', message: faults.join('\n') });
    return;
  }
  if (config.environment !== 'development') return;
  if (!config.isLocal) {
    logger.warn(
      'no playground and no demo data: ISSUER is not on this machine (to serve others, set NODE_ENV=production)',
    );
    return;
  }
  if (config.database.url !== undefined && !(await isFreshOrDemo(registries))) {
    logger.warn('no demo data: the database at DATABASE_URL has data of its own');
    return;
  }
  const refusals = await seedDemoData({ ...registries, issuer: config.issuer });
  for (const reason of refusals) logger.warn({ reason }, 'a part of the demo data was refused');
}

type Listing = {
  clients: Pick<Clients, 'list'>;
  accounts: { list(page: { limit: number }): Promise<readonly unknown[]> };
};

async function isFreshOrDemo({ clients, accounts }: DemoRegistries & Listing): Promise<boolean> {
  if ((await clients.find(demoClients.web.id)) !== undefined) return true;
  const [someClients, someAccounts] = await Promise.all([clients.list({ limit: 1 }), accounts.list({ limit: 1 })]);
  return someClients.length === 0 && someAccounts.length === 0;
}
