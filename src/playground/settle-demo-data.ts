import type { Config } from '../config/index.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../telemetry/index.ts';
import { type DemoDataRegistries, demoDataFaults } from './demo-data-faults.ts';
import { type DemoRegistries, seedDemoData } from './seed-demo-data.ts';

/**
 * Demo data are for development, where they are made at every start. Their passwords are known to everybody: production
 * does not start on a database that has them.
 *
 * @throws {AppError} `configuration` in production, with one line for each part of them that is there
 */
export async function settleDemoData(
  config: Pick<Config, 'environment' | 'isProduction' | 'issuer'>,
  registries: DemoRegistries & DemoDataRegistries & { logger: Logger },
): Promise<void> {
  if (config.isProduction) {
    const faults = await demoDataFaults(registries);
    if (faults.length > 0) throw new AppError({ code: 'configuration', message: faults.join('\n') });
  } else if (config.environment === 'development') {
    const refusals = await seedDemoData({ ...registries, issuer: config.issuer });
    for (const reason of refusals) registries.logger.warn({ reason }, 'a part of the demo data was refused');
  }
}
