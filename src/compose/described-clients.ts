import { type Clients, createDescribedClients, type DescribedClients } from '../clients/index.ts';
import type { Config } from '../config/index.ts';
import { createDocumentFetchLimits } from '../limits/index.ts';
import { createOutboundFetch } from '../oidc/index.ts';
import type { Domains } from './domains.ts';

/** Clients as the protocol and its pages see them: the registry's and, where they are let in, those that describe themselves. */
export function composeClients(
  config: Pick<Config, 'letsDescribedClientsIn' | 'outbound'>,
  { apis, clientBlocks, clients, clock }: Pick<Domains, 'apis' | 'clientBlocks' | 'clients' | 'clock'>,
): { clients: Clients; describedClients?: DescribedClients } {
  if (!config.letsDescribedClientsIn) return { clients };
  const describedClients = createDescribedClients({
    fetch: createOutboundFetch(config.outbound),
    apis,
    blocks: clientBlocks,
    limits: createDocumentFetchLimits(),
    clock,
  });
  const find: Clients['find'] = async (id, lookUp) =>
    // Who is registered under such an id is what the operator says.
    (await clients.find(id)) ?? describedClients.find(id, lookUp);
  return { clients: Object.freeze({ ...clients, find }), describedClients };
}
