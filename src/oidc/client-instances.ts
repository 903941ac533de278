import { errors, Provider } from 'oidc-provider';
import { isMeantAsApiKey } from '../api-keys/index.ts';
import type { DescribedClients, RegisteredClient } from '../clients/index.ts';
import type { Callers } from './callers.ts';
import { lookUpOfRequest } from './client-look-up.ts';
import { failClosed } from './faults.ts';

type Client = InstanceType<Provider['Client']>;

/** Where an API key may be a client. Anywhere else, as where people take part, there is no such client. */
const ROUTES_FOR_API_KEYS: ReadonlySet<string> = new Set(['token', 'introspection', 'revocation']);

/**
 * Keeps what the library makes of a client for as long as the registry gives the same one. By itself it keeps the hundred
 * that were used last, and validates the metadata of any other anew for each request: with a thousand clients in use that
 * took a tenth of the CPU of every request (docs/performance.md).
 *
 * @param options.holdTo throws what refuses a client that is registered, and says why
 * @param options.described asked why there is no client where its id is the URL of a document: its developer sees nothing else
 */
export function keepClientInstances(
  provider: Provider,
  clients: Pick<Callers, 'find'>,
  {
    described,
    holdTo,
  }: { described: Pick<DescribedClients, 'reasonOf'> | undefined; holdTo(registered: RegisteredClient): void },
): void {
  const instances = new WeakMap<RegisteredClient, Promise<Client | undefined>>();
  const make = provider.Client.find.bind(provider.Client);

  async function find(id: string): Promise<Client | undefined> {
    if (typeof id !== 'string' || (isMeantAsApiKey(id) && !isForApiKeys())) return undefined;
    const registered = await failClosed(() => clients.find(id, lookUpOfRequest()));
    const isForDeveloper = registered === undefined && Provider.ctx?.oidc.route === 'authorization';
    const reason = isForDeveloper ? described?.reasonOf(id) : undefined;
    if (reason !== undefined) throw new errors.InvalidClient(`the document at the client_id ${reason}`);
    if (registered === undefined) return make(id);
    const kept = instances.get(registered);
    if (kept !== undefined) return kept;
    holdTo(registered);
    // It asks the registry once more, which can only know something newer by then. Who comes meanwhile waits for the same
    // one: keys at a jwks_uri are fetched by each.
    const made = make(id);
    instances.set(registered, made);
    made.then(
      (client) => client ?? instances.delete(registered),
      () => instances.delete(registered),
    );
    return made;
  }
  Object.defineProperty(provider.Client, 'find', { value: find });
}

function isForApiKeys(): boolean {
  return ROUTES_FOR_API_KEYS.has(Provider.ctx?.oidc.route ?? '');
}
