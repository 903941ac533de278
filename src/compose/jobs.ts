import type { Config } from '../config/index.ts';
import { createJobs, doAll, type Jobs, type Sweep, sweepTask, type Work } from '../jobs/index.ts';
import { keyCheckSeconds } from '../keys/index.ts';
import { sweepExpiredArtifacts, wipeSuccessors } from '../tokens/index.ts';
import type { Domains } from './domains.ts';
import { unusedClientsSweep } from './registration.ts';

/** What runs by itself, on one node at a time: what is over is removed, keys follow one another, and jobs that were asked for. */
export function composeJobs(
  config: Config,
  domains: Domains,
  dependencies: { sweepAttempts: Sweep['sweep']; works: readonly Work[] },
): Jobs {
  const { apiKeys, clock, logger, revocations, serverSecrets, signingKeys } = domains;
  const { pool } = domains.database;
  return createJobs({
    databaseUrl: domains.directUrl,
    logger,
    works: dependencies.works,
    tasks: [
      sweepTask({
        logger,
        ...config.sweep,
        sweeps: [
          {
            name: 'successors of refresh tokens',
            sweep: (batchSize) =>
              wipeSuccessors({ pool, leewaySeconds: config.lifetimes.refreshLeewaySeconds, batchSize }),
          },
          { name: 'revocations', sweep: revocations.sweep },
          { name: 'attempts', sweep: dependencies.sweepAttempts },
          { name: 'clients that were never used', sweep: unusedClientsSweep(config, domains) },
          { name: 'registration tokens', sweep: domains.registrationTokens.sweep },
          { name: 'uses of API keys', sweep: apiKeys.sweep },
          { name: 'artifacts', sweep: (batchSize) => sweepExpiredArtifacts({ pool, clock, batchSize }) },
        ],
      }),
      {
        name: 'rotate-keys',
        intervalSeconds: keyCheckSeconds(config.keyPolicy),
        run: () => doAll([signingKeys.advance, serverSecrets.advance]),
      },
    ],
  });
}
