import { createSoftwareStatements } from '../clients/index.ts';
import type { Config } from '../config/index.ts';
import type { Sweep } from '../jobs/index.ts';
import { createRegistrationLimits } from '../limits/index.ts';
import { createOutboundFetch, type OidcDependencies } from '../oidc/index.ts';
import type { Domains } from './domains.ts';

const DAY_MS = 86_400_000;

/** What decides about clients that register themselves, where they may. */
export function composeRegistration(
  config: Pick<Config, 'issuer' | 'outbound' | 'registration'>,
  { clock, deleteClient }: Pick<Domains, 'clock' | 'deleteClient'>,
  counting: Omit<Parameters<typeof createRegistrationLimits>[0], 'perAddress'>,
): OidcDependencies['registering'] {
  const { mode, perAddress, softwareStatementIssuers } = config.registration;
  if (mode === 'off') return undefined;
  const fetch = createOutboundFetch(config.outbound);
  return {
    limits: createRegistrationLimits({ ...counting, perAddress }),
    statements: createSoftwareStatements({
      issuers: softwareStatementIssuers,
      audience: config.issuer,
      fetch,
      clock,
    }),
    async deleteClient(id, by) {
      await deleteClient(id, { by });
    },
  };
}

/**
 * Removes clients that registered themselves and that nobody used within the time that they had. Also where they can't register
 * any more: those that there are would be there for ever.
 */
export function unusedClientsSweep(
  config: Pick<Config, 'registration'>,
  { clients, clock, deleteClient }: Pick<Domains, 'clients' | 'clock' | 'deleteClient'>,
): Sweep['sweep'] {
  return async (batchSize) => {
    const before = new Date(clock() - config.registration.unusedDays * DAY_MS);
    const ids = await clients.listUnused({ before, limit: batchSize });
    for (const id of ids) await deleteClient(id, { isUnused: true });
    return ids.length;
  };
}
