import type { Context } from 'koa';
import type { Accounts } from '../accounts/index.ts';
import type { Clients } from '../clients/index.ts';
import { type Pages, showError, toClientView } from '../http/index.ts';
import type { ProviderPages } from '../oidc/index.ts';
import { createDevicePages } from './device-pages.ts';
import { signedOutPage, signOutPage } from './interaction-pages.ts';
import { recallClient } from './last-client.ts';

/** The pages that the provider shows by itself, as ours. */
export function createProviderPages(dependencies: {
  pages: Pages;
  clients: Clients;
  accounts: Accounts;
}): ProviderPages {
  const { pages, clients, accounts } = dependencies;

  async function clientView(clientId: string | undefined) {
    const client = clientId === undefined ? undefined : await clients.find(clientId);
    return client && toClientView(client);
  }

  return {
    locales: pages.locales,
    ...createDevicePages({ pages, clientView }),

    async error(context, out, error) {
      const { status } = context;
      // With the database away a client that isn't in the cache goes unnamed, and the person still gets their answer.
      const isExpired = error.name === 'SessionNotFound';
      const known = isExpired ? recallClient(context as Context, clients) : clientView(context.oidc.client?.clientId);
      const client = await known.catch(() => undefined);
      const code = isExpired ? 'session_not_found' : out.error;
      const description = out.error_description ?? out.error;
      const model = { code, oauthCode: out.error, status, description, client };
      showError(context as Context, pages, model, uiLocales(context.oidc.params));
    },

    async signOut(context, formHtml) {
      const accountId = context.oidc.session?.accountId;
      const account = accountId === undefined ? undefined : await accounts.find(accountId);
      const client = await clientView(context.oidc.client?.clientId);
      const model = { formHtml, client, accountLabel: account?.email };
      pages.show(context as Context, signOutPage(model), uiLocales(context.oidc.params));
    },

    async signedOut(context) {
      pages.show(context as Context, signedOutPage({ client: await clientView(context.oidc.client?.clientId) }));
    },
  };
}

function uiLocales(params: Record<string, unknown> | undefined): string | undefined {
  const value = params?.ui_locales;
  return typeof value === 'string' ? value : undefined;
}
