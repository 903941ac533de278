import type { Apis, Clients, NewClient } from '../clients/index.ts';
import { demoAccount, demoApis, demoClients, demoClientsAt } from './demo-data.ts';

type Outcome = { ok: true } | { ok: false; code: string; reason: string };

/** What the demo data need to know of accounts. */
interface DemoAccounts {
  create(account: typeof demoAccount): Promise<Outcome>;
  findByLogin(login: string): Promise<{ isDemo: boolean } | undefined>;
}

export type DemoRegistries = {
  accounts: DemoAccounts;
  apis: Pick<Apis, 'create' | 'find' | 'load' | 'update'>;
  clients: Pick<Clients, 'create' | 'find' | 'update'>;
};

/**
 * Puts the demo account, APIs and clients into the database of a developer, and mends what depends on the issuer. What
 * is there already stays as its owner has made it; done twice, or by two servers at once, it is done once.
 *
 * @param options.issuer the playground's client is sent back to it: another port is another redirect URI
 * @returns one line for each part that was refused, such as a client whose redirect URI would be http on a network
 */
export async function seedDemoData(options: DemoRegistries & { issuer: string }): Promise<string[]> {
  const made = [
    await ensureAccount(options.accounts),
    ...(await inTurn(demoApis, (api) => ensureApi(options.apis, api))),
  ];
  // Clients are checked against the APIs that this node knows; another one may have made them a moment ago.
  await options.apis.load();
  const outcomes = [
    ...made,
    ...(await inTurn(demoClientsAt(options.issuer), (client) => ensureClient(options.clients, client))),
    // Last, because the client is registered for the APIs, and they name the client.
    ...(await inTurn(demoApis, ({ identifier }) => ensureIntrospection(options.apis, identifier))),
  ];
  return outcomes.flatMap((outcome) => (outcome.ok || outcome.code === 'conflict' ? [] : [outcome.reason]));
}

async function ensureAccount(accounts: DemoAccounts): Promise<Outcome> {
  return (await accounts.findByLogin(demoAccount.email)) === undefined ? accounts.create(demoAccount) : { ok: true };
}

async function ensureApi(apis: DemoRegistries['apis'], api: (typeof demoApis)[number]): Promise<Outcome> {
  if ((await apis.find(api.identifier)) !== undefined) return { ok: true };
  const made = await apis.create(api);
  // Where SIGNING_ALGORITHMS doesn't name the one of the demo: RS256 is always there.
  return made.ok || made.field !== 'signingAlgorithm' ? made : apis.create({ ...api, signingAlgorithm: 'RS256' });
}

async function ensureClient(clients: DemoRegistries['clients'], wanted: NewClient): Promise<Outcome> {
  const id = wanted.metadata.client_id;
  const found = await clients.find(id);
  if (found === undefined) return clients.create(wanted);
  if (!found.isDemo || id !== demoClients.web.id) return { ok: true };
  const { client_uri, initiate_login_uri, redirect_uris = [], post_logout_redirect_uris = [] } = wanted.metadata;
  const followed = {
    redirect_uris: follow(found.metadata.redirect_uris, redirect_uris),
    post_logout_redirect_uris: follow(found.metadata.post_logout_redirect_uris, post_logout_redirect_uris),
  };
  const isThere =
    redirect_uris.every((uri) => found.metadata.redirect_uris?.includes(uri)) &&
    post_logout_redirect_uris.every((uri) => found.metadata.post_logout_redirect_uris?.includes(uri));
  return isThere ? { ok: true } : clients.update(id, { metadata: { ...followed, client_uri, initiate_login_uri } });
}

/** The playground of another copy on this database keeps its address, as those that a developer added do. */
function follow(before: readonly string[] = [], wanted: readonly string[]): string[] {
  return [...new Set([...wanted, ...before])].slice(0, MOST_ADDRESSES);
}

/** A developer who tries a port after another leaves no endless list behind. */
const MOST_ADDRESSES = 20;

async function ensureIntrospection(apis: DemoRegistries['apis'], identifier: string): Promise<Outcome> {
  const api = await apis.find(identifier);
  if (!api?.isDemo || api.introspectionClientIds.includes(demoClients.service.id)) return { ok: true };
  return apis.update(identifier, { introspectionClientIds: [...api.introspectionClientIds, demoClients.service.id] });
}

async function inTurn<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}
