import type { Apis, Clients } from '../clients/index.ts';
import { demoClients } from './demo-data.ts';

export type DemoDataRegistries = {
  accounts: { listDemo(): Promise<readonly { email: string }[]> };
  apis: Pick<Apis, 'list'>;
  clients: Pick<Clients, 'find'>;
};

/**
 * Why a database must not serve in production: one line for each demo client, API and account in it, and how to remove
 * it, in an order in which nothing still hangs on what is removed. Empty where there are none.
 */
export async function demoDataFaults(registries: DemoDataRegistries): Promise<string[]> {
  const [clients, apis, accounts] = await Promise.all([
    Promise.all(Object.values(demoClients).map(({ id }) => registries.clients.find(id))),
    registries.apis.list(),
    registries.accounts.listDemo(),
  ]);
  return [
    ...clients
      .filter((client) => client?.isDemo)
      .map((client) => fault('client', client?.id ?? '', 'has a secret that everybody knows')),
    ...apis.filter(({ isDemo }) => isDemo).map((api) => fault('api', api.identifier, 'is for development')),
    ...accounts.map(({ email }) => fault('user', email, 'has a password that everybody knows')),
  ];
}

function fault(kind: 'client' | 'api' | 'user', id: string, why: string): string {
  return `DATABASE_URL has demo data: ${kind} ${id} ${why}; remove it with: tessera ${kind} delete ${id}`;
}
